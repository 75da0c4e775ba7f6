"""Break notifications find another channel where one does not deliver (MS-SMB2 3.3.4.6, 3.3.4.7)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core import break_delivery
from lamina.core.connection import Connection
from lamina.core.plan import ShareSpec
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import REQUEST_LEASE, LeaseContext, encode_lease
from lamina.core.wire.oplock_break import (
    LeaseBreak,
    OplockBreak,
    decode_lease_break_notification,
    decode_oplock_break,
    encode_lease_break,
    encode_oplock_break,
)
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.ntfsa.constants import FILE_OPEN_IF
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from tests.support.granted import RH, RWH
from tests.support.served import GENERIC_ALL, PASSWORD, USER, Served, new_file
from tests.support.wire_client import ALL_DIALECTS, Open, WireClient

KEY = b"the lease key, 1"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(break_delivery, "_LOOK_AGAIN", 0.02)
    monkeypatch.setattr(break_delivery, "_PATIENCE", 0.02)
    monkeypatch.setattr(break_delivery, "_RETRANSMISSIONS", 0.0)


@pytest.fixture
def other(served: Served) -> WireClient:
    """Another client, whose opens break what the first one holds."""
    client = served.client(client_guid=b"another client's")
    client.negotiate(ALL_DIALECTS)
    client.session_setup(USER, PASSWORD)
    client.tree_connect("data")
    return client


def connection_of(served: Served, client: WireClient) -> Connection:
    """The server's end of a client's connection."""
    port = client.socket.getsockname()[1]
    found = served.call(lambda: [each for each in served.core.connections if each.transport.peer[1] == port])
    return found[0]


def deafen(served: Served, client: WireClient) -> None:
    """Let it seem to the server as if this client's TCP acknowledged nothing any more."""
    connection = connection_of(served, client)
    served.call(lambda: setattr(connection.transport, "bytes_acknowledged", lambda: 0))


def begin_open(client: WireClient, path: str = "file") -> int:
    body = encode_create_request(CreateRequest(path, GENERIC_ALL, 0, 7, FILE_OPEN_IF, 0, NONE))
    message_id = client.send(Command.CREATE, body)
    client.wait_interim(message_id)
    return message_id


def broken(client: WireClient) -> int:
    """The level that the next notification breaks an oplock to."""
    response = client.recv()
    assert response.header.command == Command.OPLOCK_BREAK
    return decode_oplock_break(response.message).oplock_level


def acknowledge(client: WireClient, file: Open, level: int) -> None:
    body = encode_oplock_break(OplockBreak(*file.file_id, level))
    client.transact(Command.OPLOCK_BREAK, body).check()


def no_delivery_is_watched(served: Served) -> None:
    served.until(lambda: not any(connection.deliveries for connection in served.core.connections))


def test_the_kernel_tells_what_the_clients_tcp_has_acknowledged(served: Served, client: WireClient) -> None:
    client.echo()
    transport = connection_of(served, client).transport
    served.until(lambda: transport.bytes_acknowledged() == transport.bytes_sent > 0)
    assert 0 < served.call(transport.retransmission_timeout) < 10
    client.disconnect()
    served.until(lambda: not served.core.connections)
    assert (transport.bytes_acknowledged(), transport.retransmission_timeout()) == (0, 0.0)


def test_the_first_channel_is_told_wherever_the_file_was_opened(
    served: Served, client: WireClient, other: WireClient
) -> None:
    second = served.bound(client)
    file = new_file(second, oplock_level=BATCH)
    waiting = begin_open(other)
    assert broken(client) == LEVEL_II
    acknowledge(second, file, LEVEL_II)
    other.wait(waiting).check()
    no_delivery_is_watched(served)


def test_a_channel_that_does_not_acknowledge_is_given_up_for_the_next(
    served: Served, client: WireClient, other: WireClient
) -> None:
    second, third = served.bound(client), served.bound(client)
    file = new_file(client, oplock_level=BATCH)
    deafen(served, client)
    deafen(served, second)
    waiting = begin_open(other)
    for channel in (client, second, third):
        assert broken(channel) == LEVEL_II
    assert client.is_closed_by_server()
    assert second.is_closed_by_server()
    acknowledge(third, file, LEVEL_II)
    other.wait(waiting).check()
    third.write(file, b"the session goes on")
    no_delivery_is_watched(served)


def test_a_client_that_reads_nothing_any_more_is_told_on_another_channel(
    served: Served, client: WireClient, other: WireClient
) -> None:
    """Its TCP takes what fits into its buffers, and then no more."""
    second = served.bound(client)
    file = new_file(client, oplock_level=BATCH)
    second.write(file, bytes(8 << 20))
    for _ in range(4):
        client.send(Command.READ, encode_read_request(ReadRequest(*file.file_id, 0, 8 << 20)), payload=8 << 20)
    connection = connection_of(served, client)
    served.until(lambda: connection.transport.unsent() > 0)
    waiting = begin_open(other)
    assert broken(second) == LEVEL_II
    acknowledge(second, file, LEVEL_II)
    other.wait(waiting).check()


def test_a_client_that_reads_slowly_is_left_alone(served: Served, client: WireClient, other: WireClient) -> None:
    second = served.bound(client)
    file = new_file(client, oplock_level=BATCH)
    connection = connection_of(served, client)
    acknowledged = iter(range(1_000_000))
    served.call(lambda: setattr(connection.transport, "bytes_acknowledged", lambda: next(acknowledged) % 100))
    waiting = begin_open(other)
    assert broken(client) == LEVEL_II
    (delivery,) = connection.deliveries
    served.until(lambda: delivery._looks > 5)
    assert not connection.closed
    second.echo()
    assert not second.unclaimed
    acknowledge(client, file, LEVEL_II)
    other.wait(waiting).check()


def test_a_channel_that_ends_before_the_answer_is_followed_by_the_next(
    served: Served, client: WireClient, other: WireClient
) -> None:
    second = served.bound(client)
    file = new_file(client, oplock_level=BATCH)
    waiting = begin_open(other)
    assert broken(client) == LEVEL_II
    client.disconnect()
    assert broken(second) == LEVEL_II
    acknowledge(second, file, LEVEL_II)
    other.wait(waiting).check()


def test_a_channel_that_ends_after_the_answer_is_not(served: Served, client: WireClient, other: WireClient) -> None:
    second = served.bound(client)
    file = new_file(client, oplock_level=BATCH)
    waiting = begin_open(other)
    broken(client)
    acknowledge(client, file, LEVEL_II)
    other.wait(waiting).check()
    client.disconnect()
    served.until(lambda: len(served.core.connections) == 2)
    second.echo()
    assert not second.unclaimed


def test_the_only_channel_is_never_given_up(served: Served, client: WireClient, other: WireClient) -> None:
    file = new_file(client, oplock_level=BATCH)
    deafen(served, client)
    waiting = begin_open(other)
    assert broken(client) == LEVEL_II
    connection = connection_of(served, client)
    (delivery,) = connection.deliveries
    served.until(lambda: delivery._looks > 3)
    acknowledge(client, file, LEVEL_II)
    other.wait(waiting).check()
    no_delivery_is_watched(served)


def test_a_channel_that_comes_later_is_told_what_the_others_were_not(
    served: Served, client: WireClient, other: WireClient
) -> None:
    file = new_file(client, oplock_level=BATCH)
    deafen(served, client)
    waiting = begin_open(other)
    broken(client)
    second = served.bound(client)
    assert broken(second) == LEVEL_II
    acknowledge(second, file, LEVEL_II)
    other.wait(waiting).check()


def test_the_last_channel_ends_the_break(served: Served, client: WireClient, other: WireClient) -> None:
    second = served.bound(client)
    new_file(client, oplock_level=BATCH)
    deafen(served, client)
    waiting = begin_open(other)
    assert broken(client) == LEVEL_II
    assert broken(second) == LEVEL_II
    second.disconnect()
    other.wait(waiting).check()


def test_what_wants_no_answer_is_sent_again_until_it_is_acknowledged(
    served: Served, client: WireClient, other: WireClient
) -> None:
    second = served.bound(client)
    new_file(client, oplock_level=LEVEL_II)
    theirs = new_file(other)
    deafen(served, client)
    other.write(theirs, b"x")
    assert broken(client) == NONE
    assert broken(second) == NONE
    no_delivery_is_watched(served)


# -- leases ---------------------------------------------------------------------------------------------------------


def lease(client: WireClient, version: int = 1) -> Open:
    contexts = {REQUEST_LEASE: encode_lease(LeaseContext(KEY, RWH, version=version))}
    return new_file(client, oplock_level=LEASE, contexts=contexts)


def lease_broken(client: WireClient) -> int:
    response = client.recv()
    assert response.header.command == Command.OPLOCK_BREAK
    return decode_lease_break_notification(response.message).new_state


def answer(client: WireClient) -> None:
    client.transact(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(KEY, RH))).check()


@pytest.mark.parametrize("version", [1, 2])
def test_a_lease_is_told_on_every_connection_of_the_client(
    served: Served, client: WireClient, other: WireClient, version: int
) -> None:
    own = served.connected()
    second = served.bound(own)
    lease(own, version)
    lease(client, version)
    order = (own, second, client) if version == 1 else (client, own, second)
    for channel in order[:2]:
        deafen(served, channel)
    waiting = begin_open(other)
    for channel in order:
        assert lease_broken(channel) == RH
    answer(order[2])
    other.wait(waiting).check()


def test_another_connection_of_the_client_may_answer_for_a_lease_of_two_sessions(
    served: Served, client: WireClient, other: WireClient
) -> None:
    same = served.connected()
    lease(client)
    lease(same)
    deafen(served, client)
    waiting = begin_open(other)
    assert lease_broken(client) == RH
    assert lease_broken(same) == RH
    answer(same)
    other.wait(waiting).check()


def test_what_must_be_encrypted_is_told_on_the_sessions_channels_only(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve(shares={"data": ShareSpec(tmp_path / "data", encrypt=True)})
    client = served.connected()
    own = served.connected()
    second = served.bound(own)
    lease(own)
    deafen(served, own)
    begin_open(served.connected())
    for channel in (own, second):
        response = channel.recv()
        assert response.encrypted
        assert decode_lease_break_notification(response.message).new_state == RH
    client.echo()
    assert not client.unclaimed
