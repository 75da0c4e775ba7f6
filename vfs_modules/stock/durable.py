"""Finds the files of persistent handles again after a restart, wherever they have been moved to meanwhile.

While the server runs, the file of a handle whose client is gone just stays open. For the time after a restart the
module makes a cookie of each: the file's handle of the kernel (name_to_handle_at), its inode and birth, and its path.
By the handle the file is found under whatever name it has now; where handles cannot be opened (not root, file systems
that have none, another machine of a cluster) by its path, and only if it is the same file.
"""

import errno
import os
import stat as st
import struct
from typing import ClassVar, Final, NamedTuple, NoReturn

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability, FileStat, OpenHow
from lamina.vfs_modules.syscalls.file_handles import FileHandle, file_handle, open_file_handle
from lamina.vfs_modules.token import ImpersonationToken

_COOKIE = struct.Struct("<4sQqiH")  # magic, inode, birth, kind and length of the handle; then that, and the path
_MAGIC: Final = b"LDC1"
_NO_BIRTH: Final = -1
_NO_KIND: Final = -1
# Handles are not to be had here, or not to be opened: the path has to do.
_NO_HANDLES: Final = frozenset({errno.EOPNOTSUPP, errno.EOVERFLOW, errno.ENOSYS, errno.EPERM, errno.EINVAL})


class Cookie(NamedTuple):
    """What finds a file again: which file it is, the kernel's handle of it if there is one, and where it was."""

    inode: int
    birth: int
    handle: FileHandle | None
    path: bytes

    def pack(self) -> bytes:
        """The cookie as bytes."""
        kind, data = self.handle if self.handle is not None else (_NO_KIND, b"")
        return _COOKIE.pack(_MAGIC, self.inode, self.birth, kind, len(data)) + data + self.path

    @classmethod
    def unpack(cls, data: bytes) -> "Cookie":
        """The cookie that `pack` made; EINVAL for what is none."""
        if len(data) < _COOKIE.size:
            _refuse(errno.EINVAL)
        magic, inode, birth, kind, length = _COOKIE.unpack_from(data)
        end = _COOKIE.size + length
        if magic != _MAGIC or end > len(data):
            _refuse(errno.EINVAL)
        handle = None if kind == _NO_KIND else FileHandle(kind, data[_COOKIE.size : end])
        return cls(inode, birth, handle, data[end:])


class DurableModule(VfsModule):
    """Makes cookies of open files, and opens files by them."""

    name: ClassVar[str] = "durable"
    provides: ClassVar[tuple[str, ...]] = ("cookies",)

    def one_process(self) -> str:
        """It keeps nothing."""
        return ""

    def capabilities(self, below: Capability) -> Capability:
        """What the layers below can do, and to keep handles for their clients."""
        return below | Capability.DURABLE_HANDLES

    def durable_cookie(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        """The kernel's handle of the file, and its path; ENOTSUP for what is no file of the kernel's."""
        root = self._root(token)
        try:
            if handle.fd < 0 or root.fd < 0:
                return self.next.durable_cookie(token, handle)
            path = _beneath(syscalls.path_of(root.fd), syscalls.path_of(handle.fd))
        finally:
            self.next.close(token, root)
        stat = self.next.fstat(token, handle)
        return Cookie(stat.ino, _birth(stat), _kernel_handle(handle.fd), path).pack()

    def durable_open(self, token: ImpersonationToken, directory: VfsHandle, cookie: bytes, how: OpenHow) -> VfsHandle:
        """Open the file of a cookie under the name that it has now."""
        if not cookie.startswith(_MAGIC):
            return self.next.durable_open(token, directory, cookie, how)
        wanted = Cookie.unpack(cookie)
        path = self._path_now(directory, wanted)
        try:
            handle = self.next.open(token, directory, os.fsdecode(path), how)
        except FileNotFoundError:
            _refuse(errno.ESTALE)
        stat = self.next.fstat(token, handle)
        if stat.ino != wanted.inode or _birth(stat) != wanted.birth or not st.S_ISREG(stat.mode):
            self.next.close(token, handle)
            _refuse(errno.ESTALE)
        return handle

    def _root(self, token: ImpersonationToken) -> VfsHandle:
        return self.next.open_root(token)

    @staticmethod
    def _path_now(directory: VfsHandle, wanted: Cookie) -> bytes:
        """Where the file is: by its handle, else where it was.

        Of a file with several names the kernel tells any; where that is not in the share, the one it had still may be.
        """
        if wanted.handle is None or directory.fd < 0:
            return wanted.path
        try:
            fd = open_file_handle(directory.fd, wanted.handle)
        except OSError as error:
            if error.errno in _NO_HANDLES:
                return wanted.path
            raise
        try:
            if not os.fstat(fd).st_nlink:
                _refuse(errno.ESTALE)
            root, path = syscalls.path_of(directory.fd), syscalls.path_of(fd)
        finally:
            os.close(fd)
        return _beneath(root, path) if _is_beneath(root, path) else wanted.path


def _birth(stat: FileStat) -> int:
    return _NO_BIRTH if stat.btime_ns is None else stat.btime_ns


def _kernel_handle(fd: int) -> FileHandle | None:
    try:
        return file_handle(fd)
    except OSError as error:
        if error.errno in _NO_HANDLES:
            return None
        raise


def _beneath(root: bytes, path: bytes) -> bytes:
    """`path` relative to `root`; ESTALE where it is not beneath it."""
    if not _is_beneath(root, path):
        _refuse(errno.ESTALE)
    return path[len(root.rstrip(b"/")) + 1 :]


def _is_beneath(root: bytes, path: bytes) -> bool:
    return path.startswith(root.rstrip(b"/") + b"/")


def _refuse(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))
