"""The transport of a connection that a server has accepted: its socket's options, and who is told of it."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from lamina.core.transport import TcpTransport

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer

_KEEPALIVE_PROBES: Final = 3


class AcceptedTransport(TcpTransport):
    """A transport that reports to its server as soon as it is connected."""

    def __init__(self, server: "SmbServer", ended: Callable[[], None] | None = None) -> None:
        super().__init__(server.buffers)
        self._server = server
        self._when_ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the socket up and enter the connection. Called by the event loop."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        seconds = self._server.settings.keepalive
        if seconds:
            # A client whose network is gone says no goodbye, and each channel it has lost counts.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 10))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
        self._server.accepted(self)

    @property
    def descriptor(self) -> int:
        """The socket's; -1 where it is gone."""
        return self._fd

    def begin_again(self, answered: bytes, message: bytes) -> None:
        """Take the first two messages of a connection as received, the first of which has its answer already."""
        sink = self._sink
        if sink is None:
            return
        vars(self)["send"] = _send_nothing
        try:
            sink.receive(memoryview(bytearray(answered)))
            sink.end_of_batch()
        finally:
            del vars(self)["send"]
        sink.receive(memoryview(bytearray(message)))
        sink.end_of_batch()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Say so. Called by the event loop."""
        super().connection_lost(exc)
        if self._when_ended is not None:
            self._when_ended()


def _send_nothing(_: Sequence[bytes | bytearray | memoryview]) -> bool:
    return True
