"""Compounds (MS-SMB2 3.3.5.2.7, 3.3.4.1.3)."""

from collections.abc import Callable

import pytest

from lamina.core.settings import Limits
from lamina.core.wire import constants as smb
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.create import CreateRequest, decode_create_response, encode_create_request
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.query_info import QueryInfoRequest, encode_query_info_request
from lamina.core.wire.read import ReadRequest, decode_read_response, encode_read_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import GENERIC_ALL, PASSWORD, USER, Served, new_file
from tests.support.wire_client import RELATED_FILE, Response, WireClient

ECHO = (smb.Command.ECHO, encode_empty())
CLOSE = (smb.Command.CLOSE, encode_close_request(CloseRequest(*RELATED_FILE, 0)))
READ = (smb.Command.READ, encode_read_request(ReadRequest(*RELATED_FILE, 0, 100)))


def create(name: str, disposition: int = 3) -> tuple[int, bytes]:
    return smb.Command.CREATE, encode_create_request(CreateRequest(name, GENERIC_ALL, 0, 7, disposition, 0))


def write(data: bytes) -> tuple[int, bytes]:
    return smb.Command.WRITE, encode_write_request(WriteRequest(*RELATED_FILE, 0, data))


def statuses(responses: list[Response]) -> list[int]:
    return [response.status for response in responses]


def test_related_requests_use_the_file_of_the_first(client: WireClient) -> None:
    responses = client.compound([create("file"), write(b"odd"), READ, CLOSE])
    assert statuses(responses) == [0, 0, 0, 0]
    assert bytes(decode_read_response(responses[2].message).data) == b"odd"
    assert [bool(r.header.flags & smb.FLAGS_RELATED_OPERATIONS) for r in responses] == [False, True, True, True]


def test_the_replies_come_in_one_frame_at_multiples_of_eight(client: WireClient) -> None:
    chain, _ = client.build_chain([create("file"), write(b"odd"), READ, CLOSE])
    client.send_message(chain)
    replies = client.recv_chain()
    assert len(replies) == 4
    assert all(reply.header.next_command % 8 == 0 for reply in replies)
    assert all(len(reply.message) == reply.header.next_command for reply in replies[:-1])
    assert all(reply.signed for reply in replies)


def test_unrelated_requests_each_stand_for_themselves(client: WireClient) -> None:
    file = new_file(client)
    read = smb.Command.READ, encode_read_request(ReadRequest(*file.file_id, 0, 1))
    assert statuses(client.compound([create("missing", 1), ECHO, read], related=False)) == [
        NtStatus.OBJECT_NAME_NOT_FOUND, 0, NtStatus.END_OF_FILE,
    ]  # fmt: skip


def test_what_is_related_to_a_failed_create_fails_with_it(client: WireClient) -> None:
    assert statuses(client.compound([create("missing", 1), READ, CLOSE])) == [NtStatus.OBJECT_NAME_NOT_FOUND] * 3


def test_a_failure_on_the_file_does_not_keep_it_from_being_closed(client: WireClient) -> None:
    assert statuses(client.compound([create("file"), READ, CLOSE])) == [0, NtStatus.END_OF_FILE, 0]


def test_the_first_request_cannot_be_related(client: WireClient) -> None:
    message = client.build(*ECHO, flags=smb.FLAGS_RELATED_OPERATIONS)
    client.send_message(message)
    assert client.recv().status == NtStatus.INVALID_PARAMETER
    client.echo()


def test_what_is_related_to_no_file_has_none(client: WireClient) -> None:
    first, second = statuses(client.compound([ECHO, CLOSE]))
    assert first == 0
    assert second != 0


def test_related_and_unrelated_requests_may_be_mixed(client: WireClient) -> None:
    parts = [
        (*create("one"), 0),
        (*CLOSE, 4),
        (*create("missing", 1), 0),
        (*CLOSE, 4),
        (*create("two"), 0),
        (*CLOSE, 4),
    ]
    chain = bytearray()
    for index, (command, body, flags) in enumerate(parts):
        last = index == len(parts) - 1
        padded = body if last else body.ljust((len(body) + 7) & ~7, b"\0")
        chain += client.build(command, padded, flags=flags, next_command=0 if last else 64 + len(padded))
    client.send_message(chain)
    missing = NtStatus.OBJECT_NAME_NOT_FOUND
    assert statuses(client.recv_chain()) == [0, 0, missing, missing, 0, 0]


def test_a_compound_may_be_encrypted(served: Served) -> None:
    client = served.negotiated()
    client.session_setup(USER, PASSWORD, encrypt=True)
    client.tree_connect("data")
    responses = client.compound([create("file"), write(b"secret"), READ, CLOSE])
    assert statuses(responses) == [0, 0, 0, 0]
    assert all(response.encrypted and not response.signed for response in responses)


def test_each_request_of_a_compound_must_be_signed(client: WireClient) -> None:
    chain, message_ids = client.build_chain([create("file"), CLOSE])
    second = memoryview(chain)[int.from_bytes(chain[20:24], "little") :]
    second[50] ^= 1
    client.send_message(chain)
    assert client.wait(message_ids[0]).status == 0
    assert client.wait(message_ids[1]).status == NtStatus.ACCESS_DENIED


def test_every_request_of_a_compound_pays_for_itself(client: WireClient) -> None:
    used = client.message_id
    chain, _ = client.build_chain([ECHO, ECHO])
    position = int.from_bytes(chain[20:24], "little")
    chain[position + 24 : position + 32] = used.to_bytes(8, "little")
    client.send_message(chain)
    assert client.is_closed_by_server()


@pytest.mark.parametrize(("count", "lives"), [(5, True), (6, False)])
def test_the_depth_of_a_compound_is_limited(serve: Callable[..., Served], count: int, lives: bool) -> None:
    client = serve(limits=Limits(compound_depth=5)).connected()
    chain, _ = client.build_chain([ECHO] * count, related=False)
    client.send_message(chain)
    if lives:
        assert statuses(client.recv_chain()) == [0] * count
    else:
        assert client.is_closed_by_server()


@pytest.mark.parametrize("following", [4, 63, 65, 72 + 4, 1 << 20, 0xFFFFFFF8])
def test_a_next_command_that_leads_nowhere_ends_the_connection(client: WireClient, following: int) -> None:
    chain, _ = client.build_chain([ECHO, ECHO])
    chain[20:24] = following.to_bytes(4, "little")
    client.send_message(chain)
    assert client.is_closed_by_server()


def test_what_is_asked_of_the_file_system_may_be_related(client: WireClient) -> None:
    info = smb.Command.QUERY_INFO, encode_query_info_request(QueryInfoRequest(*RELATED_FILE, 2, 3, 100, 0, 0, b""))
    responses = client.compound([create("file"), info, CLOSE])
    assert statuses(responses) == [0, 0, 0]
    assert decode_create_response(responses[0].message).volatile


def test_a_large_compound_of_reads_is_answered_whole(client: WireClient) -> None:
    file = new_file(client)
    size = 2 << 20
    for _ in range(3):
        client.transact(*ECHO, credits=2000)
    client.write(file, bytes(size))
    read = smb.Command.READ, encode_read_request(ReadRequest(*file.file_id, 0, size))
    chain, message_ids = client.build_chain([read] * 10, related=False, charge=32)
    client.send_message(chain)
    assert [len(decode_read_response(client.wait(m).message).data) for m in message_ids] == [size] * 10
