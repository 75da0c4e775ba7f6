"""Files of the server's own. Logs: appended to, locked against other processes, moved by rotation; and private files.

They are not the share's: their paths are the administrator's, and they are opened as the server (`assume` it before).
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_SECRET_LIMIT: Final = 65_536


class LogFile:
    """A file that lines are appended to. Raises OSError: EBUSY where another process has it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, _FLAGS, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise OSError(errno.EBUSY, "another process writes to it", path) from error

    def tail(self, size: int) -> bytes:
        """The last `size` bytes, or all there are."""
        end = os.fstat(self._fd).st_size
        return os.pread(self._fd, size, max(0, end - size))

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end, or nothing of it."""
        before = os.fstat(self._fd).st_size
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, before)
            raise

    def sync(self) -> None:
        """Return when it is on stable storage."""
        os.fdatasync(self._fd)

    def was_moved(self) -> bool:
        """Whether the path no longer is this file's: somebody rotates it."""
        try:
            there, here = os.stat(self.path, follow_symlinks=False), os.fstat(self._fd)
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Give it back."""
        os.close(self._fd)


def read_secret(path: str) -> bytes:
    """What a small file of the administrator's holds, without white space around it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _SECRET_LIMIT).strip()
    finally:
        os.close(fd)


def make_private(path: str) -> None:
    """Make an empty file that only the server reads, unless there is one; its name is on stable storage then.

    Raises OSError: ELOOP for a symbolic link.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_lines(path: str) -> Iterator[bytes]:
    """The lines of a file of the administrator's, each with its end."""
    with open(path, "rb") as file:
        yield from file
