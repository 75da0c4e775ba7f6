"""Taking turns: one request at a time where a request may be parked in the middle (`engine.wait`).

Requests of one event loop only overlap where they wait; this is for what must not be entered again meanwhile. Several
worker processes of one server overlap always: a module's `self.turn(...)` is taken between them, too.
"""

import asyncio
from collections import deque
from types import TracebackType

from lamina.vfs_modules import engine


class Turn:
    """A lock for requests, first come first served. Costs two attribute writes where nobody is in the way."""

    __slots__ = ("_waiting", "taken")

    def __init__(self) -> None:
        self.taken = False
        self._waiting: deque[asyncio.Future[None]] | None = None

    def __enter__(self) -> None:
        while self.taken:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(turn)
            try:
                engine.wait(turn)
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._wake_next()
                raise
        self.taken = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.taken = False
        if self._waiting:
            self._wake_next()

    def _wake_next(self) -> None:
        waiting = self._waiting
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
