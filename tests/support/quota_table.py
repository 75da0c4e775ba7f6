"""A module that keeps quotas in a table, as a backend with its own would: for tests where the kernel has none."""

import errno

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.token import ImpersonationToken


class QuotaTable(VfsModule, public=("asked", "entries")):
    """Quotas in a dictionary; a write beyond the hard limit of a user fails, and what he has is what was written."""

    name = "quota_table"

    def __init__(self, *entries: Quota) -> None:
        super().__init__()
        self.entries = {(entry.kind, entry.number): entry for entry in entries}
        self.asked = 0

    def capabilities(self, below: Capability) -> Capability:
        return below | Capability.QUOTAS

    def get_quota(self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, number: int) -> Quota:
        self.asked += 1
        return self.entries.get((kind, number), Quota(kind, number, 0))

    def set_quota(self, token: ImpersonationToken, handle: VfsHandle, quota: Quota) -> None:
        used = self.get_quota(token, handle, quota.kind, quota.number).used
        self.entries[quota.kind, quota.number] = quota._replace(used=used)

    def list_quotas(
        self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, start: int, limit: int
    ) -> list[Quota]:
        wanted = sorted(entry for entry in self.entries.values() if entry.kind is kind and entry.number >= start)
        return wanted[:limit]

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        entry = self.get_quota(token, handle, QuotaKind.USER, token.uid)
        if entry.hard is not None and entry.used + len(data) > entry.hard:
            raise OSError(errno.EDQUOT, "the user's quota is used up")
        self.entries[entry.kind, entry.number] = entry._replace(used=entry.used + len(data))
        return self.next.pwrite(token, handle, data, offset)
