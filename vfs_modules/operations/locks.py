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
        """Show programs beside the server how this handle has a range locked (RANGE_LOCKS).

        Whatever it had there is replaced. Where the storage cannot express a range or a kind it does what comes nearest
        and is less.

        Arguments: `handle` of a file, for whatever access; `offset`, `length` in bytes, up to 2**64 together; `kind`:
          how it is locked from now on.
        Errors: EAGAIN where another holds a lock in the way, and then nothing has changed; ENOLCK.
        Waits: where the storage is remote, but never for a lock.
        Overlaps: with everything but `close`, which ends all locks of the handle; for one range the last one counts.
        May assume: asked only where the chain claims RANGE_LOCKS; clients' locks against each other are ntfsa's.
        Default: ENOTSUP.
        """
        unsupported("set_range_lock")

    @operation(Target.HANDLE, waits=False)
    def set_lease(self, token: ImpersonationToken, handle: VfsHandle, kind: FileLease, broken: LeaseBroken) -> None:
        """Be asked before programs beside the server get the file (LEASES).

        `broken(to)` is called on the event loop's thread, outside of any request and perhaps more than once: somebody
        waits until this is called anew with `to` or less, but no longer than the system lets him.

        Arguments: `handle` of a file, for whatever access; `kind`: what for, NONE or less than before gives it back;
          `broken`: whom to ask.
        Errors: EAGAIN where the file is open elsewhere in a way that does not suit `kind`; EACCES where this server may
          not lease it.
        Waits: never.
        Overlaps: with everything but `close`, which ends the lease.
        May assume: asked only where the chain claims LEASES, on the event loop's thread.
        Default: ENOTSUP.
        """
        unsupported("set_lease")
