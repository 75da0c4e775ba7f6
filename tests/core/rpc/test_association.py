"""The protocol below the procedures, with packets made by hand."""

from struct import pack, unpack_from

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.rpc.association import MAX_REQUEST
from lamina.core.rpc.interface import Syntax
from lamina.core.rpc.pipes import RpcPipe
from lamina.core.rpc.srvsvc import SRVSVC
from lamina.core.rpc.view import ShareView
from lamina.core.rpc.wkssvc import WKSSVC
from lamina.ntfsa.status import NtStatus, NtStatusError
from tests.support.rpc_pipe import (
    FEATURES,
    NDR,
    NDR64,
    REMOTE_TOD,
    SHARE_ENUM,
    SHARE_ENUM_1,
    bind,
    bound,
    fault_status,
    kind_of,
    packet,
    pipe,
    request,
    results,
)

BIND_ACK, BIND_NAK, RESPONSE, ALTER_CONTEXT_RESPONSE = 12, 13, 2, 15
MANY_SHARES = [ShareView(f"share{number:04}", "a remark of some length") for number in range(300)]


def answer_to(opened: RpcPipe, message: memoryview) -> bytes:
    return opened.transceive(message, 65536).data


def status_of_write(opened: RpcPipe, message: memoryview) -> NtStatus:
    with pytest.raises(NtStatusError) as caught:
        opened.write(message)
    return caught.value.status


def test_bind_is_acknowledged_with_the_pipe_as_secondary_address() -> None:
    answer = answer_to(pipe(), bind((0, SRVSVC.syntax, NDR)))
    assert kind_of(answer) == BIND_ACK
    assert answer[26 : 26 + 13] == b"\\PIPE\\srvsvc\0"
    assert results(answer) == [(0, 0)]


def test_windows_bind_gets_ndr_but_not_ndr64_and_an_answer_about_features() -> None:
    offered = [(0, SRVSVC.syntax, NDR), (1, SRVSVC.syntax, NDR64), (2, SRVSVC.syntax, FEATURES)]
    assert results(answer_to(pipe(), bind(*offered))) == [(0, 0), (2, 2), (3, 2)]


def test_unknown_interface_is_rejected_for_its_abstract_syntax() -> None:
    unknown = Syntax(SRVSVC.syntax.uuid, 4)
    newer = Syntax(SRVSVC.syntax.uuid, 3, 1)
    assert results(answer_to(pipe(), bind((0, unknown, NDR), (1, newer, NDR)))) == [(2, 1), (2, 1)]


def test_bind_with_a_verifier_is_refused_for_its_authentication_type() -> None:
    message = packet(11, bytes(bind((0, SRVSVC.syntax, NDR)))[16:] + bytes(24), auth_length=16)
    answer = answer_to(pipe(), message)
    assert kind_of(answer) == BIND_NAK
    assert unpack_from("<H", answer, 16) == (8,)


def test_second_bind_is_refused() -> None:
    assert kind_of(answer_to(bound(), bind((0, SRVSVC.syntax, NDR)))) == BIND_NAK


def test_alter_context_before_a_bind_is_refused() -> None:
    assert kind_of(answer_to(pipe(), bind((0, SRVSVC.syntax, NDR), kind=14))) == BIND_NAK


def test_alter_context_adds_an_interface() -> None:
    opened = bound()
    answer = answer_to(opened, bind((7, WKSSVC.syntax, NDR), kind=14))
    assert kind_of(answer) == ALTER_CONTEXT_RESPONSE
    assert results(answer) == [(0, 0)]
    stub = pack("<II", 0, 100)
    assert kind_of(answer_to(opened, request(0, stub, context_id=7))) == RESPONSE
    assert kind_of(answer_to(opened, request(REMOTE_TOD, bytes(4), context_id=0))) == RESPONSE


def test_contexts_are_bounded() -> None:
    opened = bound()
    offered = [(number, SRVSVC.syntax, NDR) for number in range(1, 100)]
    assert results(answer_to(opened, bind(*offered, kind=14)))[-1] == (2, 3)


def test_other_version_is_refused_and_ends_the_association() -> None:
    opened = pipe()
    message = bytearray(bind((0, SRVSVC.syntax, NDR)))
    message[0] = 4
    answer = answer_to(opened, memoryview(message))
    assert kind_of(answer) == BIND_NAK
    assert unpack_from("<H", answer, 16) == (4,)
    assert status_of_write(opened, bind((0, SRVSVC.syntax, NDR))) is NtStatus.PIPE_DISCONNECTED


def test_unknown_operation_is_out_of_range() -> None:
    assert fault_status(answer_to(bound(), request(99, b""))) == 0x1C010002


def test_unknown_context_is_an_unknown_interface() -> None:
    assert fault_status(answer_to(bound(), request(REMOTE_TOD, bytes(4), context_id=3))) == 0x1C010003


def test_request_before_a_bind_is_a_protocol_error() -> None:
    assert fault_status(answer_to(pipe(), request(REMOTE_TOD, bytes(4)))) == 0x1C01000B


def test_stub_that_is_cut_short_is_bad_stub_data() -> None:
    assert fault_status(answer_to(bound(), request(SHARE_ENUM, SHARE_ENUM_1[:-6]))) == 0x6F7


def test_call_id_comes_back() -> None:
    answer = answer_to(bound(), request(REMOTE_TOD, bytes(4), call_id=77))
    assert unpack_from("<I", answer, 12) == (77,)


def test_request_is_put_together_from_fragments() -> None:
    opened = bound()
    opened.write(request(SHARE_ENUM, SHARE_ENUM_1[:8], flags=1))
    opened.write(request(SHARE_ENUM, SHARE_ENUM_1[8:16], flags=0))
    whole = answer_to(bound(), request(SHARE_ENUM, SHARE_ENUM_1))
    assert answer_to(opened, request(SHARE_ENUM, SHARE_ENUM_1[16:], flags=2)) == whole


def test_packet_may_come_byte_by_byte() -> None:
    opened = bound()
    for byte in bytes(request(REMOTE_TOD, bytes(4))):
        opened.write(memoryview(bytes([byte])))
    assert kind_of(opened.read(4280).data) == RESPONSE


def test_several_packets_may_come_in_one_write() -> None:
    opened = bound()
    opened.write(memoryview(bytes(request(REMOTE_TOD, bytes(4), call_id=1)) + bytes(request(99, b"", call_id=2))))
    assert kind_of(opened.read(4280).data) == RESPONSE
    assert fault_status(opened.read(4280).data) == 0x1C010002


def test_orphaned_call_is_forgotten() -> None:
    opened = bound()
    opened.write(request(SHARE_ENUM, SHARE_ENUM_1[:8], flags=1, call_id=5))
    opened.write(packet(19, b"", call_id=5))
    assert kind_of(answer_to(opened, request(SHARE_ENUM, SHARE_ENUM_1, call_id=6))) == RESPONSE


@pytest.mark.parametrize("kind", [16, 18])
def test_auth3_and_cancel_are_not_answered(kind: int) -> None:
    opened = bound()
    opened.write(packet(kind, bytes(4)))
    assert kind_of(answer_to(opened, request(REMOTE_TOD, bytes(4)))) == RESPONSE


def test_interleaved_calls_are_a_protocol_error() -> None:
    opened = bound()
    opened.write(request(SHARE_ENUM, SHARE_ENUM_1[:8], flags=1, call_id=5))
    assert fault_status(answer_to(opened, request(SHARE_ENUM, SHARE_ENUM_1, call_id=6))) == 0x1C01000B


def test_fragment_without_a_first_one_is_a_protocol_error() -> None:
    assert fault_status(answer_to(bound(), request(SHARE_ENUM, b"", flags=2))) == 0x1C01000B


def test_endless_request_is_given_up() -> None:
    opened = bound()
    flags = 1
    for _ in range(MAX_REQUEST // 4096):
        opened.write(request(SHARE_ENUM, bytes(4096), flags=flags))
        flags = 0
    assert fault_status(answer_to(opened, request(SHARE_ENUM, bytes(4096), flags=0))) == 0x1C00001B
    assert status_of_write(opened, request(REMOTE_TOD, bytes(4))) is NtStatus.PIPE_DISCONNECTED


def test_flood_of_packets_in_one_write_ends_the_association() -> None:
    opened = bound()
    opened.write(memoryview(bytes(request(99, b"")) * 1000))
    assert status_of_write(opened, request(99, b"")) is NtStatus.PIPE_DISCONNECTED


def test_packet_shorter_than_a_header_ends_the_association() -> None:
    opened = bound()
    opened.write(memoryview(pack("<BBBB4sHHI", 5, 0, 0, 3, b"\x10\0\0\0", 15, 0, 1)))
    assert status_of_write(opened, request(99, b"")) is NtStatus.PIPE_DISCONNECTED


def reassemble(opened: RpcPipe, first: bytes) -> tuple[list[bytes], bytes]:
    fragments = [first]
    while not fragments[-1][3] & 2:
        fragments.append(opened.read(65536).data)
    return fragments, b"".join(fragment[24:] for fragment in fragments)


def test_long_response_is_cut_into_fragments_that_the_client_can_take() -> None:
    opened = bound(shares=MANY_SHARES, max_receive=2000)
    fragments, stub = reassemble(opened, answer_to(opened, request(SHARE_ENUM, SHARE_ENUM_1)))
    assert all(len(fragment) <= 2000 for fragment in fragments)
    assert [fragment[3] for fragment in fragments] == [1] + [0] * (len(fragments) - 2) + [2]
    assert unpack_from("<I", fragments[0], 16) == (len(stub),)
    larger = bound(shares=MANY_SHARES)
    assert reassemble(larger, answer_to(larger, request(SHARE_ENUM, SHARE_ENUM_1)))[1] == stub


def test_client_that_claims_to_take_nothing_gets_what_everybody_must_take() -> None:
    opened = bound(shares=MANY_SHARES, max_receive=0)
    assert len(answer_to(opened, request(SHARE_ENUM, SHARE_ENUM_1))) in range(1400, 1433)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6))
def test_no_bytes_make_anything_but_answers_and_statuses(writes: list[bytes]) -> None:
    opened = pipe()
    for data in writes:
        _feed(opened, data)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 40), st.binary(max_size=200), st.integers(0, 255), st.integers(0, 1))
def test_no_stub_makes_anything_but_answers_and_statuses(opnum: int, stub: bytes, flags: int, context: int) -> None:
    opened = bound()
    opened.transceive(bind((1, WKSSVC.syntax, NDR), kind=14), 65536)
    _feed(opened, bytes(request(opnum, stub, context, flags | 3)))


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_no_damaged_packet_makes_anything_but_answers_and_statuses(data: st.DataObject) -> None:
    opened = pipe()
    for message in (bind((0, SRVSVC.syntax, NDR)), request(SHARE_ENUM, SHARE_ENUM_1)):
        damaged = bytearray(message)
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        _feed(opened, bytes(damaged))


def _feed(opened: RpcPipe, data: bytes) -> None:
    try:
        opened.write(memoryview(data))
        while True:
            opened.read(1000)
    except NtStatusError:
        pass
