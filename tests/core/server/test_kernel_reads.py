"""Large reads that the kernel answers from the file: the same bytes, and only where nothing else has a say in them."""

import os
from collections.abc import Callable

import pytest

from lamina.core.transport import TcpTransport
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.count import CountModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.served import Served, new_file
from tests.support.wire_client import Open, WireClient

SIZE = 3_000_001
CONTENT = os.urandom(SIZE)


class _InMemory(PosixBackend):
    """What `posix` is in a file system that lives in memory, wherever the test runs."""

    def sendable(self, handle: VfsHandle, offset: int, length: int) -> int:
        handle.private.nowait = handle.private.waits = False
        return super().sendable(handle, offset, length)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of files the kernel was given to send."""
    counts: list[int] = []
    original = TcpTransport.send_file

    def send_file(self: TcpTransport, descriptor: int, offset: int, count: int) -> None:
        counts.append(count)
        original(self, descriptor, offset, count)

    monkeypatch.setattr(TcpTransport, "send_file", send_file)
    return counts


def _client(served: Served, **options: object) -> WireClient:
    (served.folder / "file").write_bytes(CONTENT)
    client = served.connected(**options)
    for _ in range(8):
        client.transact(Command.ECHO, b"\4\0\0\0", credits=512)
    assert client.session is not None
    client.session.sign = False
    return client


def _serve(serve: Callable[..., Served], *above: VfsModule, backend: PosixBackend | None = None) -> Served:
    return serve(chain=[*above, backend or _InMemory()], require_signing=False)


@pytest.mark.parametrize(("offset", "length"), [(0, 1 << 20), (17, 200_001), (SIZE - 300_000, 1 << 20), (0, 4 << 20)])
def test_the_client_gets_what_is_in_the_file(
    serve: Callable[..., Served], sent: list[int], offset: int, length: int
) -> None:
    client = _client(_serve(serve))
    file = new_file(client, "file")
    asked = [client.send(Command.READ, _read(file, offset, length), payload=length) for _ in range(3)]
    client.transact(Command.ECHO, b"\4\0\0\0")
    for number in asked:
        assert bytes(client.wait(number).check().message[80:]) == CONTENT[offset : offset + length]
    assert sent == [min(length, SIZE - offset)] * 3


def _read(file: Open, offset: int, length: int, minimum: int = 0) -> bytes:
    return encode_read_request(ReadRequest(*file.file_id, offset, length, minimum))


def test_what_is_signed_encrypted_or_small_is_read(serve: Callable[..., Served], sent: list[int]) -> None:
    served = _serve(serve)
    client = _client(served)
    file = new_file(client, "file")
    assert client.read(file, 100_000) == CONTENT[:100_000]
    assert client.read(file, 1 << 20, sign=True) == CONTENT[: 1 << 20]
    assert client.read(file, 1 << 20, encrypt=True) == CONTENT[: 1 << 20]
    assert not sent


@pytest.mark.parametrize(("offset", "minimum"), [(SIZE, 0), (SIZE + 5, 0), (SIZE - 200_000, 300_000)])
def test_beyond_the_end_of_the_file_there_is_nothing(
    serve: Callable[..., Served], sent: list[int], offset: int, minimum: int
) -> None:
    client = _client(_serve(serve))
    file = new_file(client, "file")
    answer = client.transact(Command.READ, _read(file, offset, 400_000, minimum), payload=400_000)
    assert answer.status == NtStatus.END_OF_FILE
    assert not sent


def test_what_somebody_has_locked_is_not_sent(serve: Callable[..., Served], sent: list[int]) -> None:
    served = _serve(serve)
    client, other = _client(served), served.connected()
    file = new_file(client, "file")
    other.lock(new_file(other, "file"), [(500_000, 1, 0x12)])
    answer = client.transact(Command.READ, _read(file, 0, 1 << 20), payload=1 << 20)
    assert answer.status == NtStatus.FILE_LOCK_CONFLICT
    assert client.read(file, 400_000) == CONTENT[:400_000]
    assert not sent


class _Shouting(VfsModule):
    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        count = self.next.pread(token, handle, buffer, offset)
        buffer[:count] = bytes(buffer[:count]).upper()
        return count


@pytest.mark.parametrize("module", [_Shouting, CountModule])
def test_no_module_that_has_to_do_with_reading_is_gone_around(
    serve: Callable[..., Served], sent: list[int], module: type[VfsModule]
) -> None:
    client = _client(_serve(serve, module()))
    found = client.read(new_file(client, "file"), 1 << 20)
    assert found == (CONTENT[: 1 << 20].upper() if module is _Shouting else CONTENT[: 1 << 20])
    assert not sent


@pytest.mark.parametrize("options", [{"sendfile": False}, {"posix_locking": True}, {"kernel_oplocks": True}])
def test_an_administrator_may_have_everything_read(
    serve: Callable[..., Served], sent: list[int], options: dict[str, bool]
) -> None:
    client = _client(_serve(serve, backend=_InMemory(PosixOptions(**options))))
    assert client.read(new_file(client, "file"), 1 << 20) == CONTENT[: 1 << 20]
    assert not sent


def test_who_reads_slowly_gets_all_of_it_and_may_close_the_file_meanwhile(
    serve: Callable[..., Served], sent: list[int]
) -> None:
    client = _client(_serve(serve))
    file = new_file(client, "file")
    asked = [client.send(Command.READ, _read(file, 0, SIZE), payload=SIZE, credits=64) for _ in range(12)]
    closing = client.send(Command.CLOSE, encode_close_request(CloseRequest(*file.file_id)))
    for number in asked:
        assert bytes(client.wait(number).check().message[80:]) == CONTENT
    client.wait(closing).check()
    assert sent == [SIZE] * 12
