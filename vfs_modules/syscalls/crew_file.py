"""A file of the server's own by which its processes know each other: theirs as long as one of them lives.

Where several worker processes share something that is on disk, no other server may have it, and one of them at a time
changes it. Both are locks of the open file description (fcntl(2), F_OFD_SETLK): who is killed has none any more.
"""

import fcntl
import os
import struct
from types import TracebackType
from typing import Final

from lamina.vfs_modules.syscalls.range_locks import set_range

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock on 64-bit machines: type, whence, start, length, process
_FREE, _SHARED, _ALONE = 0, 1, 2
_MEMBERS, _TURN = 0, 1
_LONGEST: Final = 4096


class CrewFile:
    """The file `path`, which is made if need be, for the processes that call themselves `crew`. As the server.

    In a with block it is this process' turn, which is waited for: not on the thread of the event loop.
    """

    def __init__(self, path: str, crew: str) -> None:
        self._crew = crew.encode()
        self._fd = os.open(path, _FLAGS, 0o600)

    def join(self) -> bool:
        """Be one of the processes that have it; False while those of another server do, or are about to."""
        if self._take(_ALONE):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, self._crew, 0)
            # Nobody else has it between: a lock is changed in one step.
            return self._take(_SHARED)
        if not self._take(_SHARED):
            return False
        if os.pread(self._fd, _LONGEST, 0) == self._crew:
            return True
        set_range(self._fd, _MEMBERS, 1, _FREE)
        return False

    def _take(self, kind: int) -> bool:
        try:
            set_range(self._fd, _MEMBERS, 1, kind)
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> None:
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _TURN, 1, 0))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        set_range(self._fd, _TURN, 1, _FREE)

    def close(self) -> None:
        """Be none of them any more."""
        os.close(self._fd)


def has_crew(path: str) -> bool:
    """Whether there is such a file: several processes have been here."""
    return os.path.exists(path)
