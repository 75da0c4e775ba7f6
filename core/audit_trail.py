"""The way of audited accesses to whoever wants them: a log line and an announcement, on a thread of their own.

A request hands its event over and goes on. Whoever listens may take his time: events wait in a queue, and when that is
full the newest are dropped and counted, for a server that cannot be served would be worse than a gap that is told of.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from lamina.ntfsa.security.audit import AuditEvent

log = logging.getLogger("lamina.audit")

KIND: Final = "access.audited"
"""What the event is called in the announcement."""

_LENGTH: Final = 10_000
_END: Final = None


class AuditTrail:
    """`add` events from the event loop; `announce(kind, details)` and the log get them in order, on another thread."""

    def __init__(self, announce: Callable[[str, Mapping[str, Any]], None], length: int = _LENGTH) -> None:
        self._announce = announce
        self._queue: queue.Queue[AuditEvent | None] = queue.Queue(length)
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def add(self, event: AuditEvent) -> None:
        """Take an event; never waits and never raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lamina-audit", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.dropped += 1

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
        while (event := self._queue.get()) is not _END:
            dropped = self.dropped
            if dropped != told:
                log.warning("%d audited accesses could not be told of: they came faster than they were taken", dropped)
                told = dropped
            self._tell(event)

    def _tell(self, event: AuditEvent) -> None:
        details = describe(event)
        log.info("%s", " ".join(f"{key}={value!r}" for key, value in details.items()), extra={"audit": details})
        self._announce(KIND, details)


def describe(event: AuditEvent) -> dict[str, Any]:
    """An event as plain values: who, from where, what, which rights, and what came of it."""
    return {
        "result": "success" if event.success else "failure",
        "user": event.user,
        "user_sid": event.user_sid,
        "client": event.client,
        "share": event.share,
        "path": event.path,
        "access": event.access,
        "rights": event.rights(),
    }
