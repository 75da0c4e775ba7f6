"""Requests and replies: what one received message asks, and the frame that answers it.

A message holds one request or a compound (MS-SMB2 3.3.5.2.7). Its requests run in order in one greenlet; their
replies gather in one frame. A request that must wait for somebody turns asynchronous: the client gets an interim
response (3.3.4.2) and the final one later, in a frame of its own.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from lamina.core.request_view import request_view
from lamina.core.wire.constants import Command
from lamina.core.wire.header import Header
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import RequestCancelled, Task

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.crypto.signing import Signer
    from lamina.core.session import Channel, SmbOpen, SmbSession, SmbTree
    from lamina.vfs_modules.services.request_view import RequestView

HEADROOM: Final = 56
"""Bytes before the SMB2 header in a reply's buffer: the frame length (4) and the transform header (52)."""

HEADER: Final = 64

_WAIT_FOR_GRANTS: Final = frozenset({Command.CREATE, Command.SET_INFO})

INTERIM_DELAY: Final = 0.25
"""Seconds after which a client is told that a slow operation is pending; waits for somebody are told at once."""

ERROR_BODY: Final = b"\x09\x00" + bytes(7)
"""The body of an error response without data (2.2.2)."""


class CancelledByClient(RequestCancelled):
    """The request ends with `status`: CANCEL, or its open, tree or session went away."""

    def __init__(self, status: NtStatus = NtStatus.CANCELLED) -> None:
        super().__init__(status.name)
        self.status = status


class Reply:
    """The outcome of one request: a body behind a header, in a buffer with headroom.

    Either `body` is given, or `buffer` already holds it at HEADROOM + HEADER, `size` bytes long (large reads).
    """

    __slots__ = ("body", "buffer", "size", "status")

    def __init__(self, status: int, body: bytes = b"", buffer: bytearray | None = None, size: int = 0) -> None:
        self.status = status
        self.body = body
        self.buffer = buffer
        self.size = len(body) if buffer is None else size


class Request:
    """One request: its header, and what the header's ids were found to mean."""

    __slots__ = (
        "async_id",
        "channel",
        "connection",
        "exchange",
        "file_id",
        "foreign",
        "header",
        "message",
        "open",
        "sequenced",
        "session",
        "signed",
        "tree",
    )

    def __init__(self, exchange: "Exchange", message: memoryview, header: Header) -> None:
        self.exchange = exchange
        self.connection = exchange.connection
        self.message = message
        self.header = header
        self.channel: Channel | None = None
        self.session: SmbSession | None = None
        self.tree: SmbTree | None = None
        self.open: SmbOpen | None = None
        self.file_id: int | None = None
        # A session that is not on this connection: its key has signed the request, and signs the refusal.
        self.foreign: SmbSession | None = None
        self.async_id = 0
        self.signed = False
        # Counted by the channel sequence of its open.
        self.sequenced = False

    def signer(self) -> "Signer | None":
        """What the reply is to be signed with, or None if it is encrypted or need not be."""
        if self.exchange.sealed is not None:
            return None
        channel = self.channel
        if channel is None:
            return self.foreign.signer if self.foreign is not None else None
        required = self.signed or (self.session is not None and self.session.signing_required)
        return channel.signer if required else None


class Exchange:
    """One received message and its way to the reply. `sealed` is the session whose key it came encrypted with."""

    __slots__ = (
        "chain_broken",
        "chain_failed",
        "connection",
        "current",
        "is_slow",
        "messages",
        "position",
        "previous",
        "replies",
        "sealed",
        "task",
        "timer",
    )

    def __init__(
        self,
        connection: "Connection",
        messages: list[tuple[memoryview, Header]],
        sealed: "SmbSession | None",
        task: Task | None = None,
    ) -> None:
        """`task`: what runs it already, if anything does."""
        self.connection = connection
        self.messages = messages
        self.sealed = sealed
        self.task = task or Task()
        self.task.on_park = self.on_park
        self.replies: list[tuple[Request, Reply]] = []
        self.current: Request | None = None
        self.previous: Request | None = None
        self.position = 0
        self.timer: asyncio.TimerHandle | None = None
        # The status of a failed CREATE, with which related requests that want its FileId fail, too.
        self.chain_failed: NtStatus | None = None
        # The last request had no session or tree that a related one could go on with.
        self.chain_broken = False
        # It was told of that it waits long (`stalls`).
        self.is_slow = False

    def is_last(self) -> bool:
        """Whether the current request ends the message."""
        return self.position == len(self.messages)

    def on_park(self, indefinite: bool) -> None:
        """The current request begins to wait (the engine calls this).

        Within a compound only the last request may wait for somebody, or an open for a caching grant to be given up
        (3.3.5.2.7, and the footnote on it): others fail with INTERNAL_ERROR. So may a rename or deletion, in SET_INFO:
        Linux makes each a compound, also while it caches a handle of the file itself.
        """
        request = self.current
        if request is None or request.async_id:
            return
        if not self.is_last():
            if indefinite and request.header.command not in _WAIT_FOR_GRANTS:
                raise NtStatusError(NtStatus.INTERNAL_ERROR, "a request within a compound would wait")
            return
        if request.header.command <= Command.SESSION_SETUP:
            # Its replies are hashed in order (3.3.5.5); no client expects an interim one among them.
            return
        if indefinite:
            self._require_room()
            self.connection.send_interim(self)
        elif self.timer is None:
            loop = self.connection.server.engine.loop
            self.timer = loop.call_later(INTERIM_DELAY, self._tell_pending)

    def _require_room(self) -> None:
        connection = self.connection
        if len(connection.parked) >= connection.server.settings.limits.pending_requests:
            # Their credits have been given back, so nothing else bounds them (3.3.4.2).
            raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many requests of this connection wait")

    def _tell_pending(self) -> None:
        self.timer = None
        if self.current is not None and not self.current.async_id and not self.task.done:
            self.connection.send_interim(self)

    def view(self) -> "RequestView | None":
        """The current request as modules see it (`services.request_view` finds this by the task)."""
        return request_view(self.current) if self.current is not None else None

    def stop_timer(self) -> None:
        """The current request has ended."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


__all__ = [
    "ERROR_BODY",
    "HEADER",
    "HEADROOM",
    "CancelledByClient",
    "Exchange",
    "Reply",
    "Request",
]
