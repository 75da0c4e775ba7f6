"""Modules that hang: requests that wait too long in a chain, and a chain that lets nobody else run.

A request that waits keeps nobody else waiting: it is told of after a while, and given up when its time is over. What
blocks the event loop cannot be given up from outside; a thread of its own sees it, and says where.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lamina.core.blame import standing_in
from lamina.core.request import CancelledByClient, Exchange
from lamina.ntfsa.status import NtStatus

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


class Watchdog:
    """A thread that looks whether the event loop goes round, and says where it stands when it does not."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float = BLOCKED_SECONDS) -> None:
        """Made in the loop's own thread. `patience`: seconds."""
        self._loop = loop
        self._patience = patience
        self._watched = threading.get_ident()
        self._beat = time.monotonic()
        self._timer = loop.call_soon(self._tick)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lamina-watchdog", daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._timer = self._loop.call_later(self._patience / 5, self._tick)

    def _run(self) -> None:
        stuck_since = 0.0
        while not self._end.wait(self._patience / 5):
            beat = self._beat
            if stuck_since and beat != stuck_since:
                log.warning("the server goes on, after %.0f s", beat - stuck_since)
                stuck_since = 0.0
            elif not stuck_since and time.monotonic() - beat > self._patience:
                stuck_since = beat
                self._tell()

    def _tell(self) -> None:
        frame = sys._current_frames().get(self._watched)
        place = standing_in(frame)
        if place is not None:
            log.error("%s keeps every client waiting: what takes long must wait or be offloaded", place)
        elif frame is not None:
            where = f"{frame.f_code.co_name} ({frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno})"
            log.error("every client waits for %s", where)

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._timer.cancel()
        self._thread.join()
