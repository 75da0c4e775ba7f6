"""Buffers of replies are nobody else's until the kernel, and whoever may still write into them, is done with them."""

import socket
from collections.abc import Callable

from lamina.core.connection import Connection
from lamina.core.wire.constants import Command
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.engine import sleep
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.served import Served, new_file
from tests.support.wire_client import Open, WireClient

_LARGE = 700_000
NAMES = 0x3
DIRECTORY_FILE = 0x1


def _send_read(client: WireClient, file: Open, length: int) -> int:
    body = encode_read_request(ReadRequest(*file.file_id, 0, length))
    return client.send(Command.READ, body, payload=length, credits=64)


def _free(served: Served) -> list[bytearray]:
    return [buffer for free in served.core.buffers._free.values() for buffer in free]


def _fill_the_line(served: Served, client: WireClient, file: Open) -> list[int]:
    """Ask for more than the kernel takes of what the client does not read; the ids of the requests."""
    connection = served.connection_of(client)
    sent: list[int] = []
    while not served.call(connection.transport.unsent):
        before = served.call(lambda: connection.requests)
        sent.append(_send_read(client, file, _LARGE))
        served.until(lambda before=before: connection.requests > before)
    return sent


def test_what_a_client_that_says_no_more_has_not_read_yet_is_not_overwritten(serve: Callable[..., Served]) -> None:
    served = serve()
    (served.folder / "mine").write_bytes(b"A" * _LARGE)
    (served.folder / "theirs").write_bytes(b"B" * _LARGE)
    slow, other = served.connected(), served.connected()
    for client in (slow, other):
        for _ in range(8):
            client.transact(Command.ECHO, b"\4\0\0\0", credits=512)
    mine, theirs = new_file(slow, "mine"), new_file(other, "theirs")
    watch = slow.send_change_notify(slow.create("", options=DIRECTORY_FILE), NAMES)
    slow.wait_interim(watch)
    asked = _fill_the_line(served, slow, mine)
    transport = served.connection_of(slow).transport
    slow.socket.shutdown(socket.SHUT_WR)
    served.until(lambda: transport._transport is None or transport._transport.is_closing())
    # What waited ends, and its answer goes nowhere any more.
    other.close(new_file(other, "new"))
    served.until(lambda: served.core.counts()["requests"] == 0)
    for _ in range(8):
        assert other.read(theirs, _LARGE) == b"B" * _LARGE
    for number in asked:
        assert bytes(slow.wait(number).check().message[80:]) == b"A" * _LARGE


class _Late(VfsModule):
    """Sends much to the client, waits, and reads then."""

    def __init__(self, connections: list[Connection]) -> None:
        super().__init__()
        self._connections = connections
        self.targets: list[memoryview] = []
        self.released = False

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        if len(buffer) < _LARGE and self._connections:
            self.targets.append(buffer)
            for _ in range(20):
                self._connections[0].send_notification(Command.OPLOCK_BREAK, bytes(300_000), None)
            while not self.released:
                sleep(0.005)
        return self.next.pread(token, handle, buffer, offset)


def test_a_page_that_somebody_still_writes_into_is_not_used_again(serve: Callable[..., Served]) -> None:
    connections: list[Connection] = []
    late = _Late(connections)
    served = serve(chain=[late, "posix"])
    (served.folder / "file").write_bytes(b"A" * _LARGE)
    client = served.connected()
    file = new_file(client)
    connections.append(served.connection_of(client))
    reading = _send_read(client, file, 512)
    served.until(lambda: late.targets)
    for _ in range(20):
        client.recv()
    served.until(lambda: not connections[0].transport.unsent())
    for _ in range(2):
        client.wait(client.send(Command.ECHO, b"\4\0\0\0"))
    page = late.targets.pop().obj
    assert all(free is not page for free in served.call(lambda: _free(served)))
    late.released = True
    assert bytes(client.wait(reading).check().message[80:]) == b"A" * 512


class _GivenUp(VfsModule):
    """Hands the buffer to somebody who may fill it at any time, as an asynchronous library does."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[memoryview] = []

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        self.targets.append(buffer)
        return self.next.pread(token, handle, buffer, offset)


def test_the_buffer_of_a_read_that_was_cancelled_is_not_used_again(serve: Callable[..., Served]) -> None:
    given_up, delay = _GivenUp(), DelayModule(DelayOptions(operations=frozenset({"pread"})))
    served = serve(chain=[given_up, delay, "posix"])
    (served.folder / "file").write_bytes(b"A" * _LARGE)
    client = served.connected()
    for _ in range(2):
        client.transact(Command.ECHO, b"\4\0\0\0", credits=64)
    file = new_file(client)
    served.call(delay.hold)
    reading = _send_read(client, file, _LARGE)
    served.until(lambda: delay.parked == 1)
    client.cancel(reading)
    assert client.wait(reading).status == NtStatus.CANCELLED
    buffer = given_up.targets.pop().obj
    assert all(free is not buffer for free in served.call(lambda: _free(served)))
    served.call(delay.release)


class _Waiting(VfsModule):
    """Every read waits."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        assert isinstance(buffer.obj, bytearray)
        self.sizes.append(len(buffer.obj))
        sleep(0.001)
        return self.next.pread(token, handle, buffer, offset)


def test_reads_that_wait_do_not_each_keep_a_page(serve: Callable[..., Served]) -> None:
    waiting = _Waiting()
    served = serve(chain=[waiting, "posix"])
    (served.folder / "file").write_bytes(b"A" * _LARGE)
    client = served.connected()
    client.transact(Command.ECHO, b"\4\0\0\0", credits=64)
    file = new_file(client)
    for number in [_send_read(client, file, 100) for _ in range(40)]:
        assert bytes(client.wait(number).check().message[80:]) == b"A" * 100
    assert max(waiting.sizes[1:]) < 1000
