"""Names: what stands under which name in a directory."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import FileStat
from lamina.vfs_modules.token import ImpersonationToken


class Names:
    """The operations on names beneath a directory handle, which neither need nor make a handle of the file itself."""

    @operation(Target.PATH)
    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names without opening it. A backend must implement it."""
        unsupported("stat")

    @operation(Target.PATH, mutates=True)
    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory. EEXIST where the name is taken. Default: ENOTSUP."""
        unsupported("mkdir")

    @operation(Target.PATH, mutates=True)
    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name that is not a directory's. Default: ENOTSUP."""
        unsupported("unlink")

    @operation(Target.PATH, mutates=True)
    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory; ENOTEMPTY otherwise. Default: ENOTSUP."""
        unsupported("rmdir")

    @operation(Target.PATH, mutates=True)
    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename atomically; without `replace` an existing target is EEXIST and untouched. Default: ENOTSUP."""
        unsupported("rename")

    @operation(Target.PATH, mutates=True)
    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give the file of `handle` a further name; EEXIST where it is taken. Default: ENOTSUP."""
        unsupported("link")

    @operation(Target.PATH, mutates=True)
    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link holding `target` as it is given. Default: ENOTSUP."""
        unsupported("symlink")

    @operation(Target.PATH)
    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target that a symbolic link holds; EINVAL for anything else. Default: ENOTSUP."""
        unsupported("readlink")
