"""The way of what happens to who wants to know of it: a queue, and a thread of its own that tells.

A request hands over and goes on. Whoever listens may take his time; when the queue is full the newest are dropped and
counted, for a server that cannot be served would be worse than a gap that is told of.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger(__name__)

LENGTH: Final = 10_000
_END: Final = None

_Call = tuple[Callable[..., None], tuple[Any, ...]]


class EventQueue:
    """`put` calls from any thread; they are made in order, on another one, which is there from the first on."""

    def __init__(self, what: str, length: int = LENGTH) -> None:
        """`what` waits here, in words for the log."""
        self._what = what
        self._queue: queue.Queue[_Call | None] = queue.Queue(length)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def put(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have `call(*arguments)` made; never waits and never raises. What `call` raises is logged."""
        if self._thread is None:
            self._begin()
        try:
            self._queue.put_nowait((call, arguments))
        except queue.Full:
            self.dropped += 1

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lamina-events", daemon=True)
                self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Tell what is still to be told, for so long at most, and end."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put(_END, timeout=seconds)
        self._thread.join(seconds)
        self._thread = None

    def _run(self) -> None:
        told = 0
        while (item := self._queue.get()) is not _END:
            dropped = self.dropped
            if dropped != told:
                log.warning("%d %s could not be told of: they came faster than they were taken", dropped, self._what)
                told = dropped
            call, arguments = item
            try:
                call(*arguments)
            except Exception:
                log.exception("telling of %s failed", self._what)
