"""Message ids and credits (MS-SMB2 3.3.5.2.3, 3.3.5.2.5, 3.3.1.2)."""

from collections.abc import Callable

import pytest

from lamina.core.settings import Limits
from lamina.core.wire import constants as smb
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import Served, new_file
from tests.support.wire_client import WireClient

KIB = 1024


def echo(client: WireClient, message_id: int, **options: int) -> None:
    client.send(smb.Command.ECHO, encode_empty(), message_id=message_id, **options)


def test_a_message_id_that_was_used_ends_the_connection(client: WireClient) -> None:
    client.echo()
    echo(client, client.message_id - 1)
    assert client.is_closed_by_server()


@pytest.mark.parametrize("message_id", [1 << 20, 1 << 63, (1 << 64) - 1])
def test_a_message_id_that_was_not_granted_ends_the_connection(client: WireClient, message_id: int) -> None:
    echo(client, message_id)
    assert client.is_closed_by_server()


def test_the_end_of_one_connection_leaves_others_alone(served: Served) -> None:
    bad, good = served.connected(), served.connected()
    echo(bad, 1 << 40)
    assert bad.is_closed_by_server()
    new_file(good)


def test_what_follows_a_violation_in_the_same_segment_is_not_served(served: Served) -> None:
    client = served.connected()
    bad = client.build(smb.Command.ECHO, encode_empty(), message_id=1 << 40)
    body = encode_create_request(CreateRequest("unwanted", 0x10000000, 0, 7, 3, 0))
    create = client.build(smb.Command.CREATE, body)
    client.send_bytes(b"".join(len(part).to_bytes(4, "big") + part for part in (bad, create)))
    assert client.is_closed_by_server()
    assert not (served.folder / "unwanted").exists()


def test_message_ids_may_come_in_any_order(client: WireClient) -> None:
    first = client.message_id
    order = [first + n for n in (3, 1, 4, 0, 2)]
    for message_id in order:
        echo(client, message_id)
    assert [client.wait(message_id).status for message_id in order] == [0] * 5
    client.message_id = first + 5
    client.echo()


def test_a_charge_spends_as_many_message_ids(client: WireClient) -> None:
    first = client.message_id
    echo(client, first, charge=4)
    client.wait(first)
    echo(client, first + 4)
    client.wait(first + 4)
    echo(client, first + 2)
    assert client.is_closed_by_server()


def test_a_charge_beyond_the_window_ends_the_connection(client: WireClient) -> None:
    echo(client, client.message_id, charge=65535)
    assert client.is_closed_by_server()


def test_a_charge_that_overlaps_an_id_spent_early_ends_the_connection(client: WireClient) -> None:
    first = client.message_id
    echo(client, first + 2)
    client.wait(first + 2)
    echo(client, first, charge=4)
    assert client.is_closed_by_server()


def test_every_answer_grants_what_was_asked_for_within_the_limit(serve: Callable[..., Served]) -> None:
    client = serve(limits=Limits(credits=100)).negotiated()
    granted = client.credits - 1
    for _ in range(5):
        granted += client.transact(smb.Command.ECHO, encode_empty(), credits=1000).header.credits - 1
    assert granted <= 100
    assert client.echo().header.credits >= 1


def test_a_client_that_asks_for_nothing_can_go_on(client: WireClient) -> None:
    for _ in range(200):
        assert client.transact(smb.Command.ECHO, encode_empty(), credits=0).header.credits >= 1


@pytest.mark.parametrize("size", [64 * KIB + 1, 256 * KIB])
def test_a_read_that_its_charge_does_not_pay_for_is_an_invalid_parameter(client: WireClient, size: int) -> None:
    file = new_file(client)
    body = encode_read_request(ReadRequest(*file.file_id, 0, size))
    for charge in (0, 1, (size - 1) // (64 * KIB)):
        assert client.transact(smb.Command.READ, body, charge=charge).status == NtStatus.INVALID_PARAMETER
    assert client.transact(smb.Command.READ, body, payload=size).status == NtStatus.END_OF_FILE


def test_a_write_that_its_charge_does_not_pay_for_is_an_invalid_parameter(client: WireClient) -> None:
    file = new_file(client)
    body = encode_write_request(WriteRequest(*file.file_id, 0, bytes(64 * KIB + 1)))
    assert client.transact(smb.Command.WRITE, body, charge=1).status == NtStatus.INVALID_PARAMETER
    assert client.transact(smb.Command.WRITE, body, charge=2).status == NtStatus.SUCCESS


def test_without_multi_credit_a_message_costs_one_and_carries_64_kib(served: Served) -> None:
    client = served.connected(0x202)
    file = new_file(client)
    client.write(file, bytes(64 * KIB))
    assert len(client.read(file, 64 * KIB)) == 64 * KIB
    body = encode_read_request(ReadRequest(*file.file_id, 0, 64 * KIB + 1))
    assert client.transact(smb.Command.READ, body).status == NtStatus.INVALID_PARAMETER
