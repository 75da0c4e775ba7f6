"""Taking turns: one request at a time where a request may be parked in the middle (`engine.wait`).

Requests of one event loop only overlap where they wait; this is for what must not be entered again meanwhile. Several
worker processes of one server overlap always: `several_turns` are taken between them, too.
"""

import asyncio
from collections import deque
from types import TracebackType

from lamina.vfs_modules import engine
from lamina.vfs_modules.syscalls.lock_file import LockFile


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


_PAUSE = 0.001
_lock_file: str | None = None


def share_turns(lock_file: str) -> None:
    """Be one of several processes: turns that are made from now on are taken between all that name this file."""
    global _lock_file  # noqa: PLW0603 - what a process is, is one thing for all that is in it
    _lock_file = lock_file


def several_turns(count: int) -> tuple[Turn, ...]:
    """Turns of which a module has many, each for a part of its files; the same part in every process has the same."""
    if _lock_file is None:
        return tuple(Turn() for _ in range(count))
    file = LockFile(_lock_file)
    return tuple(_SharedTurn(file, slot) for slot in range(count))


class _SharedTurn(Turn):
    """A turn that is also taken between processes."""

    __slots__ = ("_file", "_slot")

    def __init__(self, file: LockFile, slot: int) -> None:
        super().__init__()
        self._file = file
        self._slot = slot

    def __enter__(self) -> None:
        super().__enter__()
        try:
            while not self._file.take(self._slot):
                # Another process is in the middle of a system call or two.
                engine.wait(asyncio.sleep(_PAUSE))
        except BaseException:
            super().__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.give(self._slot)
        super().__exit__(kind, error, traceback)
