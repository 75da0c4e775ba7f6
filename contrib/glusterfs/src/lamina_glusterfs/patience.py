"""How long an operation goes on trying while bricks are away. Knows no volume."""

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

from lamina.vfs_modules.engine import sleep

_T = TypeVar("_T")

PAUSE: Final = 0.25
"""Seconds between two attempts: a brick that is away is told of at once, so they come to nothing quickly."""

AWAY: Final = frozenset({errno.ENOTCONN, errno.EBADF})
"""What may have come of a connection that was lost: bricks are away, or have forgotten what was open."""


class Patience:
    """That with one volume. When it has been away for longer than an operation waits, the next ones do not wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], object] = sleep) -> None:
        self._clock, self._pause = clock, pause
        self._since: float | None = None
        self.is_over = False

    def keep(self, seconds: float, attempt: Callable[[float], _T]) -> _T:
        """`attempt(seconds that are left)`, again while it fails because bricks are away."""
        end = self._clock() + seconds
        while True:
            try:
                result = attempt(max(end - self._clock(), 0.0))
            except OSError as error:
                if error.errno not in AWAY or not self._lasts(seconds, end):
                    self.is_over = self.is_over or error.errno == errno.ENOTCONN
                    raise
            else:
                self._since, self.is_over = None, False
                return result
            self._pause(PAUSE)

    def _lasts(self, seconds: float, end: float) -> bool:
        now = self._clock()
        if self._since is None:
            self._since = now
        return now + PAUSE < min(end, self._since + seconds)
