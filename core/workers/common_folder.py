"""The folder that the processes of one server share, in memory where that can be; a killed server's is cleared away.

All of them hold a lock on a file in it, which says that the folder is in use (flock(2)).
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_PREFIX: Final = "lamina-"
_LOCK: Final = "in-use"
_NOT_YET: Final = ".new"


class Hold:
    """That a folder is in use, for as long as the process lives or until it is closed."""

    def __init__(self, lock: Path) -> None:
        self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def close(self) -> None:
        """Use it no more."""
        os.close(self._fd)


def make_folder() -> tuple[str, Hold]:
    """A new folder, and the hold on it. What servers that were killed have left of theirs is removed."""
    where = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _clear_away(where)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
    hold = Hold(folder / (_LOCK + _NOT_YET))
    # Only now others may look whether somebody holds it.
    os.rename(folder / (_LOCK + _NOT_YET), folder / _LOCK)
    return str(folder), hold


def hold_folder(folder: str) -> Hold:
    """Be one of those that use it."""
    return Hold(Path(folder) / _LOCK)


def _clear_away(where: Path) -> None:
    for folder in where.glob(_PREFIX + "*"):
        try:
            if folder.stat(follow_symlinks=False).st_uid == os.geteuid() and _is_left(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _is_left(lock: Path) -> bool:
    """Whether nobody holds it. Raises OSError where there is none, as in a folder that is just being made."""
    fd = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
