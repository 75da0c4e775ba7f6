"""How `posix` opens: what a name leads to within the share, as a descriptor for what the caller is going to do."""

import errno
import os
import stat

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.stock.posix.file import BY_PATH, PosixShare
from lamina.vfs_modules.token import ImpersonationToken

# By Access; the first is not used: PATH is O_PATH.
_COMMON = os.O_NONBLOCK | os.O_NOCTTY
_DATA_FLAGS = (os.O_PATH, os.O_RDONLY | _COMMON, os.O_WRONLY | _COMMON, os.O_RDWR | _COMMON)
_S_IFMT, _S_IFREG, _S_IFDIR, _S_IFLNK = 0o170000, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK


class PosixOpening(PosixShare):
    """The part of `posix` that opens and closes."""

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root directory for PATH."""
        return VfsHandle(syscalls.reopen(token, self._root, os.O_PATH | os.O_DIRECTORY), True, BY_PATH)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names beneath `directory`."""
        raw = encode_name(path)
        if not how.access:
            if b"/" in raw or how.create or how.directory or raw == b"..":
                return self._open_for_path(token, directory.fd, raw, how)
            # What most opens of one name in the share's folder are.
            fd = syscalls.open_component(token, directory.fd, raw or b".", os.O_PATH, 0)
            return self._seen(token, directory.fd, raw, how, fd)
        flags = _DATA_FLAGS[how.access]
        if how.directory:
            flags |= os.O_DIRECTORY
        if how.create:
            flags |= os.O_CREAT | os.O_EXCL if how.exclusive else os.O_CREAT
        fd = self._open(token, directory.fd, raw, flags, how)
        if self._quiet:
            syscalls.keep_access_time(fd)
        if how.directory:
            return VfsHandle(fd, True, self._ready)
        if how.create and how.exclusive:
            # It has just been made, and by nobody else.
            device = os.fstat(fd).st_dev if self._devices else 0
            return VfsHandle(fd, False, self._devices.get(device, self._ready))
        status = os.fstat(fd)
        kind = status.st_mode & _S_IFMT
        if kind == _S_IFREG:
            return VfsHandle(fd, False, self._devices.get(status.st_dev, self._ready))
        if kind == _S_IFDIR:
            return VfsHandle(fd, True, self._ready)
        os.close(fd)
        raise OSError(errno.EACCES, "not a regular file or directory", path)

    def _open_for_path(self, token: ImpersonationToken, directory: int, raw: bytes, how: OpenHow) -> VfsHandle:
        if how.create:
            fd = self._make_path(token, directory, raw, how)
        else:
            fd = self._open(token, directory, raw, os.O_PATH | os.O_DIRECTORY if how.directory else os.O_PATH, how)
        if how.directory:
            return VfsHandle(fd, True, BY_PATH)
        return self._seen(token, directory, raw, how, fd)

    def _seen(self, token: ImpersonationToken, directory: int, raw: bytes, how: OpenHow, fd: int) -> VfsHandle:
        """The handle for a descriptor that reaches no data, of whatever it has led to."""
        kind = os.fstat(fd).st_mode & _S_IFMT
        if kind == _S_IFLNK and how.follow:
            # A single component has been opened itself.
            os.close(fd)
            fd = self._open_far(token, directory, raw, os.O_PATH, how)
            kind = os.fstat(fd).st_mode & _S_IFMT
        return VfsHandle(fd, kind == _S_IFDIR, BY_PATH)

    def _make_path(self, token: ImpersonationToken, directory: int, raw: bytes, how: OpenHow) -> int:
        flags = os.O_PATH | os.O_DIRECTORY if how.directory else os.O_PATH
        # The kernel ignores O_CREAT beside O_PATH: make the file exclusively, and otherwise look for it.
        for _ in range(8):
            try:
                made = self._open(token, directory, raw, os.O_WRONLY | os.O_CREAT | os.O_EXCL, how)
            except FileExistsError:
                if how.exclusive:
                    raise
            else:
                try:
                    return syscalls.reopen(token, made, flags)
                finally:
                    os.close(made)
            try:
                return self._open(token, directory, raw, flags, how)
            except FileNotFoundError:
                continue  # it was removed between the two calls
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), raw)

    def _open(self, token: ImpersonationToken, directory: int, raw: bytes, flags: int, how: OpenHow) -> int:
        if b"/" in raw or raw == b"..":
            return self._open_far(token, directory, raw, flags, how)
        try:
            return syscalls.open_component(token, directory, raw or b".", flags, how.mode)
        except OSError as error:
            # A symbolic link shows as ELOOP, or as ENOTDIR where a directory is wanted.
            if not how.follow or error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            return self._open_far(token, directory, raw, flags, how)

    def _open_far(self, token: ImpersonationToken, directory: int, raw: bytes, flags: int, how: OpenHow) -> int:
        if not how.follow:
            flags |= os.O_NOFOLLOW
        try:
            return syscalls.openat(token, directory, raw, flags, how.mode, self._follows)
        except OSError as error:
            if error.errno != errno.EXDEV or b".." in raw.split(b"/"):
                raise
            from_root = self._path_from_root(directory)
            if not from_root:
                raise
        # The link leads out of this directory, but perhaps not out of the share.
        return syscalls.openat(token, self._root, from_root + b"/" + raw, flags, how.mode, self._follows)

    def _path_from_root(self, directory: int) -> bytes:
        root = syscalls.path_of(self._root).rstrip(b"/") + b"/"
        path = syscalls.path_of(directory)
        return path[len(root) :] if path.startswith(root) else b""

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back."""
        fd, handle.fd = handle.fd, -1
        os.close(fd)
