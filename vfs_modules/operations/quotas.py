"""Quotas: what users and groups have on a file system, and may have."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.token import ImpersonationToken


class Quotas:
    """The operations on quotas."""

    @operation(Target.HANDLE)
    def get_quota(self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, number: int) -> Quota:
        """What a user or group has on the file system of `handle`, and may have; zeros where it has nothing.

        Only asked where the capability QUOTAS is claimed; that `token` may know has been checked. Default: ENOTSUP.
        """
        unsupported("get_quota")

    @operation(Target.HANDLE, mutates=True)
    def set_quota(self, token: ImpersonationToken, handle: VfsHandle, quota: Quota) -> None:
        """Set the limits of a user or group; `quota.used` means nothing. That `token` may has been checked.

        Default: ENOTSUP.
        """
        unsupported("set_quota")

    @operation(Target.HANDLE)
    def list_quotas(
        self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, start: int, limit: int
    ) -> list[Quota]:
        """The entries from the number `start` on, in their order, at most `limit`. Default: none."""
        return []
