"""Lines on their way from requests to a file: through a bounded queue to a thread, so that nobody waits for a disk."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.syscalls.log_file import LogFile
from lamina.vfs_modules.token import SERVER_TOKEN

log = logging.getLogger(__name__)

WAITING: Final = 32 << 20
"""Bytes that may wait to be written."""


class LineWriter:
    """Appends lines to `file` on a thread. `lost(count)` makes the line that tells how many there was no room for."""

    def __init__(self, file: LogFile, lost: Callable[[int], bytes], waiting: int = WAITING) -> None:
        self._file = file
        self._lost_line = lost
        self._limit = waiting
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._lost = 0
        self._closing = False
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lamina-recording", daemon=True)
        self._thread.start()

    def add(self, line: bytes) -> None:
        """Take a line; never waits."""
        with self._ready:
            if self._waiting + len(line) > self._limit:
                self._lost += 1
                return
            if self._lost:
                self._put(self._lost_line(self._lost))
                self._lost = 0
            self._put(line)
            self._ready.notify()

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting += len(line)

    def close(self, last: bytes) -> None:
        """Write what waits, and `last`, and end. Waits for it: a blocking call."""
        with self._ready:
            if self._lost:
                self._put(self._lost_line(self._lost))
            self._put(last)
            self._closing = True
            self._ready.notify()
        self._thread.join()

    def _run(self) -> None:
        # A thread begins with the identity of whoever made it.
        assume(SERVER_TOKEN)
        while True:
            with self._ready:
                while not (self._lines or self._closing):
                    self._ready.wait()
                lines, self._lines = self._lines, deque()
                self._waiting = 0
            if not lines:
                break
            try:
                self._file.append(b"".join(lines))
            except OSError as error:
                log.error("%d calls could not be recorded in %s: %s", len(lines), self._file.path, error.strerror)
                with self._ready:
                    self._lost += len(lines)
        self._file.close()
