"""Modules that hang: requests that wait too long in a chain, and a chain that lets nobody else run.

A request that waits keeps nobody else waiting: it is told of after a while, and given up when its time is over. What
blocks the event loop keeps everybody waiting: a thread of its own sees it and says where, and after some time more
sends the blocked thread a signal, whose handler raises where the module stands: out of an endless loop, and out of a
system call that a signal interrupts. That needs the main thread, where Python handles signals; elsewhere it is told
and no more.
"""

import asyncio
import errno
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Final

from lamina.core.blame import standing_in
from lamina.core.request import CancelledByClient, Exchange
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules import engine

if TYPE_CHECKING:
    from lamina.core.connection import Connection

log = logging.getLogger(__name__)

SLOW_SECONDS: Final = 30.0
"""After which a request that waits in a chain is told of."""

BLOCKED_SECONDS: Final = 5.0
"""After which something that keeps everybody waiting is told of."""


def give_up_stalled(connections: "Iterable[Connection]", limit: float, now: float) -> None:
    """Tell of requests that have waited long, and end those that have waited `limit` seconds (0: none)."""
    for connection in list(connections):
        for exchange in list(connection.running):
            waited = now - exchange.task.since if exchange.task.since else 0.0
            if limit and waited > limit and exchange.task.is_interruptible:
                log.error("%s is given up after %.0f s; the client is told of a timeout", _where(exchange), waited)
                exchange.task.cancel(CancelledByClient(NtStatus.IO_TIMEOUT))
            elif waited > SLOW_SECONDS and not exchange.is_slow:
                exchange.is_slow = True
                log.warning("%s has waited for %.0f s", _where(exchange), waited)


def _where(exchange: Exchange) -> str:
    place = standing_in(exchange.task.frame)
    client = exchange.connection.peer_address
    return f"{place}, for the client {client}," if place is not None else f"a request of the client {client}"


_SIGNAL: Final = signal.SIGUSR2


class Watchdog:
    """A thread that looks whether the event loop goes round, says where it stands if it does not, and gets it going."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, patience: float = BLOCKED_SECONDS, limit: float = 2 * BLOCKED_SECONDS
    ) -> None:
        """Made in the loop's own thread. `patience`: seconds until it is told; `limit`: until it is ended; 0: never."""
        self._loop = loop
        self._patience = patience
        self._limit = limit
        self._watched = threading.get_ident()
        self._beat = time.monotonic()
        self._ending = 0.0
        self._handler = None
        if limit and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(_SIGNAL, self._end_blocking)
        self._timer = loop.call_soon(self._tick)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lamina-watchdog", daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._timer = self._loop.call_later(self._patience / 5, self._tick)

    def _run(self) -> None:
        stuck_since = interrupted = 0.0
        while not self._end.wait(self._patience / 5):
            beat, now = self._beat, time.monotonic()
            if stuck_since and beat != stuck_since:
                log.warning("the server goes on, after %.0f s", beat - stuck_since)
                stuck_since = 0.0
            elif not stuck_since and now - beat > self._patience:
                stuck_since = interrupted = beat
                self._tell()
            elif stuck_since and self._handler is not None and now - interrupted > self._limit:
                # As often as it takes: what is ended may block anew.
                interrupted = now
                self._ending = beat
                signal.pthread_kill(self._watched, _SIGNAL)

    def _tell(self) -> None:
        frame = sys._current_frames().get(self._watched)
        place = standing_in(frame)
        if place is not None:
            log.error("%s keeps every client waiting: what takes long must wait or be offloaded", place)
        elif frame is not None:
            where = f"{frame.f_code.co_name} ({frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno})"
            log.error("every client waits for %s", where)

    def _end_blocking(self, number: int, frame: FrameType | None) -> None:
        """The signal has come: raise where a module blocks; nothing happens if it has just gone on."""
        place = standing_in(frame)
        if self._beat != self._ending or place is None or engine.current_task() is None:
            return
        log.error("%s is ended; its client is told of a timeout", place)
        raise OSError(errno.ETIMEDOUT, "a module has kept every client waiting")

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._timer.cancel()
        self._thread.join()
        if self._handler is not None:
            signal.signal(_SIGNAL, self._handler)
