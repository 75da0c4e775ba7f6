"""Extended attributes: named values that belong to a file, by their full names."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.token import ImpersonationToken


class Xattrs:
    """The operations on extended attributes."""

    @operation(Target.HANDLE)
    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute (full name, "user.x"); ENODATA where there is none. Default: ENOTSUP."""
        unsupported("getxattr")

    @operation(Target.HANDLE, mutates=True)
    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute. Default: ENOTSUP."""
        unsupported("setxattr")

    @operation(Target.HANDLE, mutates=True)
    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute; ENODATA where there is none. Default: ENOTSUP."""
        unsupported("removexattr")

    @operation(Target.HANDLE)
    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """Full names of the extended attributes that `token` may see. Default: ENOTSUP."""
        unsupported("listxattr")
