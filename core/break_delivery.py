"""Break notifications on their way: over one channel after the other, until one of them delivers.

MS-SMB2 3.3.4.6 Object Store Indicates an Oplock Break and 3.3.4.7 Object Store Indicates a Lease Break want the
notification sent again on another connection where sending fails. A connection to a client that is gone fails late or
never, though, while somebody waits for the answer. So its TCP is asked whether the client's has acknowledged the bytes;
where it has acknowledged nothing for some time, and there is another channel, the connection is given up, and with it
what the client still awaits there: it will ask for that again on another channel. A link that is only slow is left
alone. A connection that ends before the client has answered the break is followed by the next one, too, for the answer
may be lost with it. Notifications are then sent twice, which clients take: the answer to the second is refused.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from lamina.core.wire.constants import Command

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.session import SmbSession

log = logging.getLogger(__name__)

_LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at what has become of a notification."""

_PATIENCE: Final = 2.0
"""Seconds in which a client's TCP must acknowledge something of what was sent until the notification."""

_RETRANSMISSIONS: Final = 4.0
"""The same in retransmission timeouts of its connection, where these are longer."""

_LONGEST: Final = 60
"""Looks after which nobody is waiting any more: breaks end after 35 seconds."""


class BreakDelivery:
    """One notification, encrypted with the key of `sealed`.

    `channels` tells each time what connections there are, in the order in which they are to be tried. `is_awaited`:
    whether the break still waits for the client's answer. None for one that wants no answer, and is over when the
    client's TCP has it.
    """

    __slots__ = ("_acknowledged", "_body", "_channels", "_connection", "_end", "_is_awaited", "_looks", "_patience",
                 "_sealed", "_timer", "_tried")  # fmt: skip

    def __init__(
        self,
        channels: "Callable[[], Iterable[Connection]]",
        body: bytes,
        sealed: "SmbSession | None",
        is_awaited: Callable[[], bool] | None,
    ) -> None:
        self._channels = channels
        self._body = body
        self._sealed = sealed
        self._is_awaited = is_awaited
        self._tried: set[Connection] = set()
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._patience = 0.0
        self._end = 0
        self._acknowledged = 0
        self._looks = 0

    def send(self) -> bool:
        """Send the notification on the first channel that was not tried yet; False where there is none."""
        for connection in self._untried():
            self._tried.add(connection)
            if connection.send_notification(Command.OPLOCK_BREAK, self._body, self._sealed):
                self._watch(connection)
                return True
        return False

    def _untried(self) -> "list[Connection]":
        return [connection for connection in self._channels() if connection not in self._tried]

    def _watch(self, connection: "Connection") -> None:
        self._connection = connection
        connection.deliveries[self] = None
        self._end = connection.out.bytes_queued()
        self._acknowledged = connection.transport.bytes_acknowledged()
        self._patience = max(_PATIENCE, _RETRANSMISSIONS * connection.transport.retransmission_timeout())
        loop = connection.server.engine.loop
        self._timer = loop.call_later(self._patience, self._look, connection)

    def _look(self, connection: "Connection") -> None:
        """Some time after a notification was sent on `connection`: is it there, and is the break over?"""
        self._looks += 1
        before, self._acknowledged = self._acknowledged, connection.transport.bytes_acknowledged()
        delivered = self._acknowledged >= self._end
        over = not self._is_awaited() if self._is_awaited is not None else delivered
        if over or self._looks > _LONGEST:
            self._forget()
        elif not delivered and self._acknowledged == before and self._untried():
            connection.malformed("the client's TCP does not acknowledge a break notification; trying another channel")
            connection.transport.abort()
            connection.lost()
        else:
            pause = _LOOK_AGAIN if delivered else self._patience
            self._timer = connection.server.engine.loop.call_later(pause, self._look, connection)

    def connection_lost(self) -> None:
        """The connection that the notification was sent on is gone: what was not answered goes another way."""
        self._forget()
        if self._is_awaited is None or self._is_awaited():
            self.send()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None:
            self._connection.deliveries.pop(self, None)
        self._timer = self._connection = None
