"""Quotas: what users and groups have on a file system, and may have."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.token import ImpersonationToken


class Quotas:
    """The operations on quotas."""

    @operation(Target.HANDLE)
    def get_quota(self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, number: int) -> Quota:
        """What a user or group has, and may have, on the file system of a handle (QUOTAS).

        Arguments: `handle` of anything; `kind`, `number`: a uid or gid.
        Answer: the entry in bytes; zeros where it has nothing.
        Errors: EIO, ENOENT where quotas are off.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: asked only where the chain claims QUOTAS; that the client may know has been checked.
        Default: ENOTSUP.
        """
        unsupported("get_quota")

    @operation(Target.HANDLE, mutates=True)
    def set_quota(self, token: ImpersonationToken, handle: VfsHandle, quota: Quota) -> None:
        """Set the limits of a user or group.

        Arguments: `handle` of anything; `quota`: whose and how much in bytes; `used` means nothing.
        Errors: EROFS, EIO, ERANGE for a limit that cannot be kept.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: asked only where the chain claims QUOTAS; that the client may has been checked.
        Default: ENOTSUP.
        """
        unsupported("set_quota")

    @operation(Target.HANDLE)
    def list_quotas(
        self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, start: int, limit: int
    ) -> list[Quota]:
        """The quota entries that there are.

        Arguments: `handle` of anything; `kind`; `start`: the first number wanted; `limit`: how many at most.
        Answer: those from `start` on, in the order of their numbers.
        Errors: EIO, ENOENT where quotas are off.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: asked only where the chain claims QUOTAS; that the client may know has been checked.
        Default: none.
        """
        return []
