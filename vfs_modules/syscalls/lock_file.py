"""A file of the server's own whose bytes are locks between its worker processes; a killed one's are free again.

They are locks of the open file description (fcntl(2), F_OFD_SETLK), so that closing another descriptor loses none.
"""

import os

from lamina.vfs_modules.syscalls.range_locks import set_range

_FREE, _TAKEN = 0, 2


class LockFile:
    """The locks of one file, which is made if need be; `path` is the server's own. As the server. Nothing waits."""

    def __init__(self, path: str) -> None:
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)

    def take(self, slot: int) -> bool:
        """Take the lock of a number, from 0; False where another process has it."""
        try:
            set_range(self._file.fileno(), slot, 1, _TAKEN)
        except BlockingIOError:
            return False
        return True

    def give(self, slot: int) -> None:
        """Give it back."""
        set_range(self._file.fileno(), slot, 1, _FREE)
