"""The pipe as the SMB engine uses it."""

from struct import unpack

import pytest

from lamina.core.rpc.srvsvc import SRVSVC
from lamina.ntfsa.status import NtStatus, NtStatusError
from tests.support.rpc_pipe import NDR, REMOTE_TOD, bind, bound, pipe, request


def raised(call: object, *arguments: object) -> NtStatus:
    assert callable(call)
    with pytest.raises(NtStatusError) as caught:
        call(*arguments)
    return caught.value.status


@pytest.mark.parametrize("name", ["srvsvc", "SRVSVC", "\\wkssvc", "WksSvc"])
def test_pipe_is_found_without_case(name: str) -> None:
    assert pipe(name)


@pytest.mark.parametrize("name", ["", "lsarpc", "pipe\\srvsvc", "srvsvc:stream", "samr"])
def test_other_pipes_are_not_found(name: str) -> None:
    assert raised(pipe, name) is NtStatus.OBJECT_NAME_NOT_FOUND


def test_read_of_an_empty_pipe_is_pipe_empty() -> None:
    assert raised(pipe().read, 100) is NtStatus.PIPE_EMPTY


def test_message_is_read_in_parts_that_say_there_is_more() -> None:
    whole = pipe().transceive(bind((0, SRVSVC.syntax, NDR)), 4280)
    opened = pipe()
    first = opened.transceive(bind((0, SRVSVC.syntax, NDR)), 20)
    second = opened.read(len(whole.data) - 20)
    assert (first.status, second.status) == (NtStatus.BUFFER_OVERFLOW, NtStatus.SUCCESS)
    assert first.data + second.data == whole.data
    assert whole.status is NtStatus.SUCCESS


def test_read_returns_one_message_at_most() -> None:
    opened = bound()
    opened.write(request(99, b"", call_id=1))
    opened.write(request(99, b"", call_id=2))
    assert len(opened.read(4280).data) == 32
    assert len(opened.read(4280).data) == 32


def test_transceive_waits_for_earlier_answers_to_be_read() -> None:
    opened = bound()
    opened.write(request(99, b""))
    assert raised(opened.transceive, request(99, b""), 100) is NtStatus.PIPE_BUSY


def test_write_says_that_all_is_written() -> None:
    message = request(REMOTE_TOD, bytes(4))
    assert bound().write(message) == len(message)


def test_unread_answers_are_bounded() -> None:
    opened = bound()
    flood = memoryview(bytes(request(REMOTE_TOD, bytes(4))) * 200)
    with pytest.raises(NtStatusError) as caught:
        for _ in range(1000):
            opened.write(flood)
    assert caught.value.status is NtStatus.PIPE_BUSY


def test_closed_pipe_is_disconnected() -> None:
    opened = bound()
    opened.close()
    assert raised(opened.read, 100) is NtStatus.PIPE_DISCONNECTED
    assert raised(opened.write, request(99, b"")) is NtStatus.PIPE_DISCONNECTED
    assert raised(opened.transceive, request(99, b""), 100) is NtStatus.PIPE_DISCONNECTED


def test_standard_information_shows_a_pipe_that_is_to_go_with_its_last_handle() -> None:
    assert unpack("<QQIBB2x", pipe().query_info(1, 5, 100).data) == (4096, 0, 1, 1, 0)


def test_pipe_information_is_answered_and_nothing_else() -> None:
    opened = pipe()
    assert len(opened.query_info(1, 23, 100).data) == 8
    assert len(opened.query_info(1, 24, 100).data) == 40
    assert raised(opened.query_info, 1, 99, 100) is NtStatus.INVALID_INFO_CLASS
    assert raised(opened.query_info, 2, 5, 100) is NtStatus.INVALID_INFO_CLASS
    assert raised(opened.query_info, 1, 5, 10) is NtStatus.INFO_LENGTH_MISMATCH
