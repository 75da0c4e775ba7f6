"""A number of places: so many requests at a time, where a request may be parked in the middle (`engine.wait`).

The counting sister of `turn.Turn`: who comes when all places are taken waits, first come first served, and may be
cancelled meanwhile.
"""

import asyncio
from collections import deque
from types import TracebackType

from lamina.vfs_modules import engine


class Places:
    """`count` places; a with block holds one of them."""

    __slots__ = ("_waiting", "free")

    def __init__(self, count: int) -> None:
        self.free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    def __enter__(self) -> None:
        if self.free > 0:
            self.free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            engine.wait(place)
        except BaseException:
            # A place that was handed over just now goes on to the next.
            if place.done() and not place.cancelled():
                self._hand_over()
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.free += 1
