"""A client that sends and does not read: what is kept for it is bounded, and others are served."""

import asyncio

from lamina.core.wire import constants as smb
from lamina.core.wire.read import ReadRequest, encode_read_request
from tests.support.served import Served, new_file
from tests.support.wire_client import WireClient

MIB = 1 << 20


def unsent(served: Served) -> int:
    """Bytes that the server keeps for clients which do not read them."""

    def count() -> int:
        transports = [connection.transport._transport for connection in served.core.connections]
        return sum(t.get_write_buffer_size() for t in transports if isinstance(t, asyncio.Transport) or t is not None)

    return served.call(count)


def reads(client: WireClient, size: int, count: int) -> list[int]:
    """Ask `count` times for `size` bytes of a file, and read no answer."""
    file = new_file(client)
    client.write(file, bytes(size))
    body = encode_read_request(ReadRequest(*file.file_id, 0, size))
    return [client.send(smb.Command.READ, body, payload=size) for _ in range(count)]


def with_credits(client: WireClient, wanted: int) -> WireClient:
    while client.credits < wanted:
        client.transact(smb.Command.ECHO, b"\4\0\0\0", credits=500)
    return client


def test_a_client_that_does_not_read_is_kept_waiting_and_loses_nothing(served: Served) -> None:
    client = with_credits(served.connected(), 4000)
    message_ids = reads(client, MIB, 60)
    served.until(lambda: any(c.transport.bytes_sent > 0 for c in served.core.connections))
    assert [len(client.wait(message_id).message) for message_id in message_ids] == [MIB + 80] * 60


def test_others_are_served_while_a_client_does_not_read(served: Served) -> None:
    client = with_credits(served.connected(), 4000)
    reads(client, MIB, 40)
    other = served.connected()
    file = new_file(other, "other")
    other.write(file, b"data")
    assert other.read(file, 10) == b"data"


def test_a_client_that_never_reads_may_go_away(served: Served) -> None:
    client = with_credits(served.connected(), 4000)
    reads(client, MIB, 40)
    client.disconnect()
    served.until_empty()


def test_what_is_kept_for_a_client_that_does_not_read_is_bounded(served: Served) -> None:
    client = with_credits(served.connected(), 8000)
    file = new_file(client)
    client.write(file, bytes(8 * MIB))
    body = encode_read_request(ReadRequest(*file.file_id, 0, 8 * MIB))
    for _ in range(50):
        client.send(smb.Command.READ, body, payload=8 * MIB)
    served.until(lambda: any(connection.transport.unsent() for connection in served.core.connections))
    other = served.connected()
    other.echo()
    assert unsent(served) < 24 * MIB
