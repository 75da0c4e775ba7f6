"""A client that has asked for much at once has something to do while the rest of it is done."""

import functools
import struct
from collections.abc import Callable

from lamina.core.transport import TcpTransport
from lamina.core.wire.constants import Command
from lamina.core.wire.empty import encode_empty
from tests.support.served import Served
from tests.support.wire_client import WireClient


def _echoes(client: WireClient, count: int) -> tuple[bytes, range]:
    """Signed requests one behind the other, as they arrive together, and their ids."""
    first = client.message_id
    messages = [client.build(Command.ECHO, encode_empty()) for _ in range(count)]
    for message in messages:
        client.sign(message)
    framed = b"".join(struct.pack(">I", len(message)) + message for message in messages)
    return framed, range(first, client.message_id)


def _pieces(served: Served, count: int) -> list[int]:
    """In how many pieces the replies to so many requests are sent, and how many bytes each has."""
    client = served.connected()
    client.transact(Command.ECHO, encode_empty(), credits=64)
    sent: list[int] = []

    def send(self: TcpTransport, frames: list[memoryview]) -> bool:
        sent.append(sum(map(len, frames)))
        return TcpTransport.send(self, frames)

    transport = served.connection_of(client).transport
    served.call(lambda: setattr(transport, "send", functools.partial(send, transport)))
    data, ids = _echoes(client, count)
    client.send_bytes(data)
    for number in ids:
        client.wait(number).check()
    return sent


def test_the_first_replies_to_many_requests_do_not_wait_for_the_last(serve: Callable[..., Served]) -> None:
    pieces = _pieces(serve(), 30)
    size = pieces[0] // 4
    assert [piece // size for piece in pieces] == [4, 8, 16, 2]


def test_a_few_are_answered_in_one_piece(serve: Callable[..., Served]) -> None:
    assert len(_pieces(serve(), 3)) == 1
