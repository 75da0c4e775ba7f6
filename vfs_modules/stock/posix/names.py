"""What `posix` does with names in a directory."""

import os
import stat

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import FileStat, OpenHow
from lamina.vfs_modules.stock.posix.opening import PosixOpening
from lamina.vfs_modules.token import ImpersonationToken


class PosixNames(PosixOpening):
    """The part of `posix` that handles names."""

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names without opening it."""
        found = syscalls.statat(token, directory.fd, path)
        if not follow or not stat.S_ISLNK(found.mode):
            return found
        fd = self._open_far(token, directory.fd, encode_name(path), os.O_PATH, OpenHow())
        try:
            return syscalls.fstatx(fd)
        finally:
            os.close(fd)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        syscalls.mkdirat(token, directory.fd, path, mode)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name that is not a directory's."""
        syscalls.unlinkat(token, directory.fd, path)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        syscalls.rmdirat(token, directory.fd, path)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename atomically."""
        syscalls.renameat(token, source_directory.fd, source, target_directory.fd, target, replace)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give the file of `handle` a further name."""
        syscalls.linkat(token, handle.fd, directory.fd, path)

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link."""
        syscalls.symlinkat(token, target, directory.fd, path)

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target that a symbolic link holds."""
        return syscalls.readlinkat(token, directory.fd, path)
