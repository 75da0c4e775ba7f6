"""Files of the server's own. Logs: appended to, locked against other processes, moved by rotation; and private files.

They are not the share's: their paths are the administrator's, and they are opened as the server (`assume` it before).
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_SECRET_LIMIT: Final = 65_536
_PATIENCE: Final = 2.0
_PAUSE: Final = 0.001


class FileState(NamedTuple):
    """Which file it is, and how many bytes are in it."""

    dev: int
    ino: int
    size: int


class LogFile:
    """A file that lines are appended to. Raises OSError: EBUSY where another process has it.

    It is locked until it is closed; or, where several processes write to it, from `lock` to `unlock`.
    """

    def __init__(self, path: str, several: bool = False) -> None:
        self.path = path
        self._fd = os.open(path, _FLAGS, 0o600)
        try:
            self.lock(_PATIENCE if several else 0.0)
        except OSError:
            os.close(self._fd)
            raise
        if several:
            self.unlock()

    def lock(self, seconds: float = _PATIENCE) -> None:
        """Wait, on a thread that may, until no other process writes to it; EBUSY where that takes too long."""
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() >= until:
                    raise OSError(errno.EBUSY, "another process writes to it", self.path) from error
                time.sleep(_PAUSE)
            else:
                return

    def unlock(self) -> None:
        """Let others write to it."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def state(self) -> FileState:
        """Which file it is, whatever is called so by now."""
        found = os.fstat(self._fd)
        return FileState(found.st_dev, found.st_ino, found.st_size)

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
