"""What `posix` keeps of a file beside its data: sizes, times, mode, owner, extended attributes."""

from collections.abc import Sequence

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import EntryXattrs, FileStat, Times, VolumeStatistics
from lamina.vfs_modules.stock.posix.file import PosixShare
from lamina.vfs_modules.token import ImpersonationToken


class PosixAttributes(PosixShare, public=("find_xattr",)):
    """The part of `posix` that handles attributes."""

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes of the file system."""
        return syscalls.statvfs(token, handle.fd)

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle."""
        return syscalls.fstatx(handle.fd)

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set last access and last write; POSIX keeps no other time that can be set."""
        if times.access_ns is not None or times.write_ns is not None:
            syscalls.set_times(token, handle.fd, times.access_ns, times.write_ns)

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits."""
        syscalls.fchmod(token, handle.fd, mode, handle.private.by_path)

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group."""
        syscalls.fchown(token, handle.fd, uid, gid, handle.private.by_path)

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute."""
        return syscalls.getxattr(token, handle.fd, name, handle.private.by_path)

    def find_xattr(self, token: ImpersonationToken, handle: VfsHandle, name: bytes) -> bytes:
        """As `getxattr`, but b"" where there is none: for the module that asks for one at every open."""
        return syscalls.find_xattr(token, handle.fd, name, handle.private.by_path)

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute."""
        syscalls.setxattr(token, handle.fd, name, value, handle.private.by_path)

    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute."""
        syscalls.removexattr(token, handle.fd, name, handle.private.by_path)

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The names of the extended attributes."""
        return syscalls.listxattr(token, handle.fd, handle.private.by_path)

    def getxattrs_in(
        self, token: ImpersonationToken, directory: VfsHandle, entries: Sequence[str], names: Sequence[str]
    ) -> list[EntryXattrs]:
        """The extended attributes of many entries of a directory, without opening one of them."""
        return syscalls.xattrs_in(token, directory.fd, entries, names)
