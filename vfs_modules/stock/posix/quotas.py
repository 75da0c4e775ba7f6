"""What `posix` does with quotas: those that the kernel keeps for the file system of the folder."""

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_LAST_ID = 0xFFFFFFFE


def quota_capabilities(root: int) -> Capability:
    """Whether the file system of the folder `root` (a descriptor) counts what its users have."""
    return Capability.QUOTAS if syscalls.has_quotas(SERVER_TOKEN, root) else Capability(0)


class PosixQuotas(Backend):
    """The part of `posix` that handles quotas."""

    def get_quota(self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, number: int) -> Quota:
        """What the kernel says of a user or group."""
        return syscalls.get_quota(SERVER_TOKEN, handle.fd, kind, number)

    def set_quota(self, token: ImpersonationToken, handle: VfsHandle, quota: Quota) -> None:
        """Let the kernel enforce other limits."""
        syscalls.set_quota(SERVER_TOKEN, handle.fd, quota)

    def list_quotas(
        self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, start: int, limit: int
    ) -> list[Quota]:
        """What the kernel has entries for."""
        found: list[Quota] = []
        while len(found) < limit and start <= _LAST_ID:
            entry = syscalls.next_quota(SERVER_TOKEN, handle.fd, kind, start)
            if entry is None:
                break
            found.append(entry)
            start = entry.number + 1
        return found
