"""The way of audited accesses to whoever wants them: a log line and an announcement, in order, on another thread."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from lamina.core.event_queue import LENGTH, EventQueue
from lamina.ntfsa.security.audit import AuditEvent

log = logging.getLogger("lamina.audit")

KIND: Final = "access.audited"
"""What the event is called in the announcement."""


class AuditTrail:
    """`add` events from the event loop; `announce(kind, details)` and the log get them."""

    def __init__(self, announce: Callable[[str, Mapping[str, Any]], None], length: int = LENGTH) -> None:
        self._announce = announce
        self._queue = EventQueue("audited accesses", length)

    @property
    def dropped(self) -> int:
        """How many there was no room for."""
        return self._queue.dropped

    def add(self, event: AuditEvent) -> None:
        """Take an event; never waits and never raises."""
        self._queue.put(self._tell, event)

    def close(self, seconds: float = 5.0) -> None:
        """Tell what is still to be told, for so long at most, and end."""
        self._queue.close(seconds)

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
