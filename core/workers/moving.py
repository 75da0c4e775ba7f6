"""Connections that begin with SMB1's NEGOTIATE say only in their second message who the client is (MS-SMB2 3.3.5.3).

Windows begins so. The worker that has answered the first message hands the connection back, with both, the second of
which is not answered; and the supervisor gives it to the worker of the client. That one does all again, and is silent
where the client has had its answer.
"""

import base64
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from lamina.core.accepted_transport import AcceptedTransport
from lamina.core.wire.negotiate import decode_negotiate_request

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.transport import TcpTransport
    from lamina.core.workers.link import Link

_LONGEST: Final = 8192
"""Bytes of messages that go through the link to the supervisor; no client's are longer."""

_GUIDS: Final = 1000
"""Clients that one message names."""

Messages = tuple[bytes, bytes]
"""The first two messages of a connection, without the transport's prefix."""


class Mover:
    """Hands connections back. `link`: to the supervisor; `numbers`: what it calls each connection's transport."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self._firsts: WeakKeyDictionary[Connection, bytes] = WeakKeyDictionary()
        self.numbers: dict[TcpTransport, int] = {}

    def expect(self, guids: Sequence[bytes]) -> None:
        """Say that these clients are to come here; nothing happens before there is a link."""
        if self.link is None:
            return
        for start in range(0, len(guids), _GUIDS):
            self.link.send({"what": "clients", "guids": [guid.hex() for guid in guids[start : start + _GUIDS]]})

    def began(self, connection: "Connection", message: memoryview) -> None:
        """A client begins with SMB1."""
        if connection.transport in self.numbers:
            self._firsts[connection] = bytes(message)

    def moves(self, connection: "Connection", message: memoryview) -> bool:
        """Whether the connection is somebody else's now, because of its second message."""
        first = self._firsts.pop(connection, None)
        transport = connection.transport
        number = self.numbers.get(transport)
        if first is None or number is None or self.link is None or len(first) + len(message) > _LONGEST:
            return False
        assert isinstance(transport, AcceptedTransport)
        guid = decode_negotiate_request(message).client_guid
        passed = socket.socket(fileno=os.dup(transport.descriptor))
        plain = _plain((first, bytes(message)))
        self.link.send({"what": "back", "number": number, "guid": guid.hex(), **plain}, passed)
        transport.abort()
        return True


def _plain(messages: Messages) -> dict[str, list[str]]:
    return {"messages": [base64.b64encode(message).decode() for message in messages]}


def messages_of(plain: Mapping[str, Any]) -> Messages | None:
    """The messages that a connection begins with, where it comes from another worker."""
    if "messages" not in plain:
        return None
    first, second = (base64.b64decode(message) for message in plain["messages"])
    return first, second
