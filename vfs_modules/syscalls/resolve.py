"""Resolution that never leaves a directory: openat2 beneath it, or a careful walk where the kernel is too old.

Internal to `syscalls`: nothing here takes on credentials, its callers have.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import TypeVar

from lamina.vfs_modules.syscalls import libc

_T = TypeVar("_T")

_MAX_LINKS = 40
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_beneath(directory: int, raw: bytes, flags: int, mode: int = 0, links: bool = True) -> int:
    """Open `raw` beneath `directory`, following links that stay there. EXDEV where one leads out.

    Without `links` none is followed: ELOOP.
    """
    if libc.HAS_OPENAT2:
        how_mode = mode if flags & os.O_CREAT else 0
        how = libc.RESOLVE_BENEATH | (libc.RESOLVE_NO_MAGICLINKS if links else libc.RESOLVE_NO_SYMLINKS)
        return libc.openat2(directory, raw, flags, how_mode, how)
    return walk(directory, raw, flags, mode, links)


def at_parent(directory: int, raw: bytes, call: Callable[[int, bytes], _T]) -> _T:
    """Call `call(parent, last component)`; the parent is resolved beneath `directory` and no link can swap it."""
    head, slash, tail = raw.rpartition(b"/")
    if tail == b"..":
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), raw)
    if not slash:
        return call(directory, raw)
    parent = _open_directory(directory, head)
    try:
        return call(parent, tail)
    finally:
        os.close(parent)


def _open_directory(directory: int, raw: bytes) -> int:
    if b"/" not in raw and raw != b"..":
        # One component that is a directory itself leads nowhere else, and needs no resolution.
        with contextlib.suppress(NotADirectoryError):
            return os.open(raw, _STEP | os.O_DIRECTORY, dir_fd=directory)
    return open_beneath(directory, raw, os.O_PATH | os.O_DIRECTORY)


def walk(directory: int, raw: bytes, flags: int, mode: int = 0, links: bool = True) -> int:
    """What openat2 does with RESOLVE_BENEATH, one component at a time with O_NOFOLLOW."""
    walker = _Walker(directory, raw, _MAX_LINKS if links else 0)
    try:
        return walker.run(flags, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, raw) from None
    finally:
        walker.close()


class _Walker:
    """The directories passed through, so that ".." in a link goes back to one of them and never above the first."""

    def __init__(self, directory: int, raw: bytes, max_links: int) -> None:
        self.stack = [directory]
        self.todo = [part for part in reversed(raw.split(b"/")) if part not in {b"", b"."}]
        self.links = 0
        self.max_links = max_links

    def close(self) -> None:
        for fd in self.stack[1:]:
            os.close(fd)

    def run(self, flags: int, mode: int) -> int:
        while len(self.todo) > 1 or (self.todo and self.todo[0] == b".."):
            self._step(self.todo.pop())
        if not self.todo:
            return os.open(b".", flags | os.O_CLOEXEC, mode, dir_fd=self.stack[-1])
        return self._last(self.todo.pop(), flags, mode)

    def _step(self, part: bytes) -> None:
        if part == b"..":
            if len(self.stack) == 1:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            os.close(self.stack.pop())
            return
        fd = os.open(part, _STEP, dir_fd=self.stack[-1])
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            self.stack.append(fd)
            return
        os.close(fd)
        if not stat.S_ISLNK(kind):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._expand(part)

    def _last(self, part: bytes, flags: int, mode: int) -> int:
        if flags & os.O_NOFOLLOW or flags & os.O_EXCL or not self._is_link(part):
            return os.open(part, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.stack[-1])
        self._expand(part)
        return self.run(flags, mode)

    def _is_link(self, part: bytes) -> bool:
        try:
            return stat.S_ISLNK(os.stat(part, dir_fd=self.stack[-1], follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def _expand(self, link: bytes) -> None:
        self.links += 1
        if self.links > self.max_links:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(link, dir_fd=self.stack[-1])
        if target.startswith(b"/"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        self.todo += [part for part in reversed(target.split(b"/")) if part not in {b"", b"."}]
