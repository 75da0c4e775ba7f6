"""Security: the descriptor that says who may do what with a file."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import FileStat
from lamina.vfs_modules.token import ImpersonationToken


class Security:
    """The operations on stored security descriptors."""

    @operation(Target.HANDLE)
    def get_security(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> bytes | None:
        """The stored security descriptor, self-relative (MS-DTYP 2.4.6), or None: ntfsa then makes one from `stat`."""
        return None

    @operation(Target.HANDLE, mutates=True)
    def set_security(self, token: ImpersonationToken, handle: VfsHandle, descriptor: bytes) -> None:
        """Store a complete self-relative security descriptor. Default: ENOTSUP: ntfsa then maps it to the mode."""
        unsupported("set_security")
