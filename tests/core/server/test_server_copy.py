"""Copies that the server makes by itself (MS-SMB2 3.3.5.15.5, 3.3.5.15.6)."""

import threading
from pathlib import Path

import pytest

from lamina.core.commands.server_copy import (
    FSCTL_SRV_COPYCHUNK,
    FSCTL_SRV_COPYCHUNK_WRITE,
    FSCTL_SRV_REQUEST_RESUME_KEY,
    LIMITS,
)
from lamina.core.wire.constants import Command
from lamina.core.wire.ioctl import IoctlRequest, decode_ioctl_response, encode_ioctl_request
from lamina.core.wire.server_copy import (
    CopyChunk,
    CopyResponse,
    decode_copy_response,
    decode_resume_key,
    encode_copy_request,
)
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules import syscalls
from tests.support.served import Served, new_file
from tests.support.wire_client import Open, StatusError, WireClient

MIB = 1 << 20


def resume_key(client: WireClient, file: Open) -> bytes:
    answer = client.ioctl(FSCTL_SRV_REQUEST_RESUME_KEY, file=file, max_output=32)
    assert len(answer.output) == 32
    return decode_resume_key(answer.output)


def copy(client: WireClient, target: Open, data: bytes, code: int = FSCTL_SRV_COPYCHUNK) -> tuple[int, CopyResponse]:
    """The status, and what came with it."""
    body = encode_ioctl_request(IoctlRequest(code, *target.file_id, memoryview(data), 12))
    response = client.transact(Command.IOCTL, body)
    return response.status, decode_copy_response(decode_ioctl_response(response.message).output)


def refusal(client: WireClient, target: Open, data: bytes, max_output: int = 12) -> int:
    with pytest.raises(StatusError) as caught:
        client.ioctl(FSCTL_SRV_COPYCHUNK, data, target, max_output)
    return caught.value.status


@pytest.fixture
def client(served: Served) -> WireClient:
    return served.connected()


@pytest.fixture
def files(client: WireClient) -> tuple[Open, Open]:
    """A file of three megabytes and an empty one."""
    source = new_file(client, "source")
    for number in range(3):
        client.write(source, bytes([number + 1]) * MIB, number * MIB)
    return source, new_file(client, "target")


def test_a_file_is_copied(client: WireClient, files: tuple[Open, Open], served: Served) -> None:
    source, target = files
    chunks = [CopyChunk(number * MIB, number * MIB, MIB) for number in range(3)]
    request = encode_copy_request(resume_key(client, source), chunks)
    for code in (FSCTL_SRV_COPYCHUNK, FSCTL_SRV_COPYCHUNK_WRITE):
        assert copy(client, target, request, code) == (NtStatus.SUCCESS, CopyResponse(3, 0, 3 * MIB))
    assert (served.folder / "target").read_bytes() == (served.folder / "source").read_bytes()


@pytest.mark.parametrize(
    "chunks",
    [
        [CopyChunk(0, 0, 0)],
        [CopyChunk(0, 0, MIB + 1)],
        [CopyChunk(0, 0, MIB)] * 17,
        [CopyChunk(0, 0, 1)] * 257,
        [CopyChunk(-1, 0, 1)],
        [CopyChunk(0, -2, 1)],
    ],
    ids=["empty", "long", "much", "many", "before-the-source", "before-the-target"],
)
def test_more_than_the_limits_is_answered_with_them(
    client: WireClient, files: tuple[Open, Open], chunks: list[CopyChunk]
) -> None:
    source, target = files
    request = encode_copy_request(resume_key(client, source), chunks)
    assert copy(client, target, request) == (NtStatus.INVALID_PARAMETER, LIMITS)


def test_chunks_that_are_announced_and_missing(client: WireClient, files: tuple[Open, Open]) -> None:
    source, target = files
    request = encode_copy_request(resume_key(client, source), [CopyChunk(0, 0, 5)] * 2)
    assert copy(client, target, request[:-1]) == (NtStatus.INVALID_PARAMETER, LIMITS)
    assert refusal(client, target, request[:20]) == NtStatus.INVALID_PARAMETER


def test_no_chunks_are_copied_in_no_time(client: WireClient, files: tuple[Open, Open]) -> None:
    source, target = files
    request = encode_copy_request(resume_key(client, source), [])
    assert copy(client, target, request) == (NtStatus.SUCCESS, CopyResponse(0, 0, 0))


def test_room_for_the_answers_is_needed(client: WireClient, files: tuple[Open, Open]) -> None:
    source, target = files
    with pytest.raises(StatusError) as caught:
        client.ioctl(FSCTL_SRV_REQUEST_RESUME_KEY, file=source, max_output=31)
    assert caught.value.status == NtStatus.INVALID_PARAMETER
    request = encode_copy_request(resume_key(client, source), [CopyChunk(0, 0, 5)])
    assert refusal(client, target, request, 11) == NtStatus.INVALID_PARAMETER


def test_keys_are_worth_nothing_elsewhere(client: WireClient, files: tuple[Open, Open], served: Served) -> None:
    source, target = files
    key = resume_key(client, source)
    chunks = [CopyChunk(0, 0, 5)]
    assert refusal(client, target, encode_copy_request(bytes(24), chunks)) == NtStatus.OBJECT_NAME_NOT_FOUND
    stranger = served.connected()
    theirs = new_file(stranger, "theirs")
    assert refusal(stranger, theirs, encode_copy_request(key, chunks)) == NtStatus.OBJECT_NAME_NOT_FOUND
    client.close(source)
    assert refusal(client, target, encode_copy_request(key, chunks)) == NtStatus.OBJECT_NAME_NOT_FOUND


def test_pipes_have_nothing_to_copy(served: Served) -> None:
    client = served.connected(share="IPC$")
    pipe = client.create("srvsvc")
    for code in (FSCTL_SRV_REQUEST_RESUME_KEY, FSCTL_SRV_COPYCHUNK):
        with pytest.raises(StatusError) as caught:
            client.ioctl(code, encode_copy_request(bytes(24), []), file=pipe)
        assert caught.value.status == NtStatus.INVALID_DEVICE_REQUEST


@pytest.fixture
def slow_copies(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Each copy of a piece waits for a permit."""
    permits = threading.Semaphore(0)
    real = syscalls.copy_range

    def copy_when_permitted(*arguments: int) -> int:
        assert permits.acquire(timeout=10)
        return real(*arguments)

    monkeypatch.setattr(syscalls, "copy_range", copy_when_permitted)
    return permits


def begin(client: WireClient, files: tuple[Open, Open]) -> int:
    source, target = files
    request = encode_copy_request(resume_key(client, source), [CopyChunk(n * MIB, n * MIB, MIB) for n in range(3)])
    body = encode_ioctl_request(IoctlRequest(FSCTL_SRV_COPYCHUNK, *target.file_id, memoryview(request), 12))
    return client.send(Command.IOCTL, body)


def test_other_requests_go_on_meanwhile(
    client: WireClient, files: tuple[Open, Open], slow_copies: threading.Semaphore
) -> None:
    copying = begin(client, files)
    interim = client.wait_interim(copying)
    assert client.read(files[0], 10, MIB) == b"\2" * 10
    client.echo()
    slow_copies.release(3)
    final = client.wait(copying)
    assert final.header.async_id == interim.header.async_id
    assert final.status == NtStatus.SUCCESS


def test_a_copy_is_cancelled_between_two_pieces(
    client: WireClient, files: tuple[Open, Open], slow_copies: threading.Semaphore, served: Served
) -> None:
    copying = begin(client, files)
    interim = client.wait_interim(copying)
    client.cancel(copying, interim.header.async_id)
    client.echo()
    slow_copies.release(3)
    assert client.wait(copying).status == NtStatus.CANCELLED
    assert Path(served.folder / "target").stat().st_size == MIB


def test_a_source_that_is_closed_meanwhile_is_kept_until_the_copy_ends(
    client: WireClient, files: tuple[Open, Open], slow_copies: threading.Semaphore
) -> None:
    copying = begin(client, files)
    client.wait_interim(copying)
    slow_copies.release(3)
    client.close(files[0])
    assert client.wait(copying).status in {NtStatus.SUCCESS, NtStatus.CANCELLED}
