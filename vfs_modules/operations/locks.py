"""Locks and leases: what programs beside the server see of its clients, and it of them."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.outside import FileLease, LeaseBroken, RangeLock
from lamina.vfs_modules.token import ImpersonationToken


class Locks:
    """The operations that join range locks and caching with those of local programs."""

    @operation(Target.HANDLE)
    def set_range_lock(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, kind: RangeLock
    ) -> None:
        """Show programs beside the server how this handle has a range locked; whatever it had there is replaced.

        Only asked where the capability RANGE_LOCKS is claimed. Ends with the handle. Never waits for a lock: EAGAIN
        where another holds one in the way, and then nothing has changed. Where the file system cannot express a range
        or a kind it does what comes nearest and is less. Default: ENOTSUP.
        """
        unsupported("set_range_lock")

    @operation(Target.HANDLE, waits=False)
    def set_lease(self, token: ImpersonationToken, handle: VfsHandle, kind: FileLease, broken: LeaseBroken) -> None:
        """Be asked before programs beside the server get the file; `kind` NONE and less than before give it back.

        Only asked where the capability LEASES is claimed, on the event loop's thread. `broken(to)` is called there,
        outside of any request and perhaps more than once: somebody waits until this is called anew with `to` or less,
        but no longer than the system lets him. Ends with the handle. EAGAIN where the file is already open elsewhere
        in a way that does not suit `kind`; EACCES where this server may not lease it. Default: ENOTSUP.
        """
        unsupported("set_lease")
