"""Files that the kernel sends: whole, in order with all else, and waited for where the client reads slowly."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from lamina.core.buffers import BufferPool
from lamina.core.transport import TcpTransport

SIZE = 3 << 20
"""More than a socket holds, whatever its buffers grow to."""

CONTENT = os.urandom(1 << 20) * (SIZE >> 20)


class Sink:
    message_limit = 1 << 20

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.complaints: list[str] = []

    def receive(self, message: memoryview) -> bool:
        self.messages.append(bytes(message))
        return False

    def end_of_batch(self) -> None:
        pass

    def malformed(self, explanation: str) -> None:
        self.complaints.append(explanation)

    def lost(self) -> None:
        pass


class Line:
    """A transport, and the client at the other end, which reads when it is told to."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.sink = Sink()
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)

    async def open(self) -> TcpTransport:
        loop = asyncio.get_running_loop()
        _, self.transport = await loop.connect_accepted_socket(lambda: TcpTransport(BufferPool()), self.ours)
        self.transport.attach(self.sink)
        return self.transport

    async def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            found += await asyncio.get_running_loop().sock_recv(self.theirs, min(1 << 20, size - len(found)))
        return bytes(found)

    async def end(self) -> bytes:
        """All that comes until the server hangs up."""
        found = bytearray()
        while more := await asyncio.get_running_loop().sock_recv(self.theirs, 1 << 20):
            found += more
        return bytes(found)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Any], Any]]:
    """Runs a coroutine function with a line, on either loop; no descriptor of the file may be left."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    descriptor = os.open(path, os.O_RDWR)

    def run_it(function: Callable[[Line], Any]) -> Any:
        line = Line(descriptor)

        async def whole() -> Any:
            await line.open()
            try:
                return await function(line)
            finally:
                line.transport.abort()
                while line.transport._transport is not None:
                    await asyncio.sleep(0)
                line.theirs.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(whole())

    yield run_it
    assert _descriptors_of(path) == 1
    os.close(descriptor)


def _descriptors_of(path: Path) -> int:
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(link) == str(path)
    return count


def test_a_file_arrives_whole_between_what_was_sent_before_and_behind_it(run: Callable[[Any], Any]) -> None:
    async def send(line: Line) -> bytes:
        line.transport.send([b"before"])
        line.transport.send_file(line.descriptor, 5, SIZE - 5)
        assert line.transport.unsent()
        received = await line.read(6 + SIZE - 5)
        assert not line.transport.unsent()
        line.transport.send([b"behind"])
        return received + await line.read(6)

    assert run(send) == b"before" + CONTENT[5:] + b"behind"


def test_what_must_not_wait_for_the_file_follows_it(run: Callable[[Any], Any]) -> None:
    async def send(line: Line) -> bytes:
        line.transport.send_file(line.descriptor, 0, SIZE)
        line.transport.send([b"notification"])
        line.transport.send_file(line.descriptor, 0, 300_000)
        return await line.read(SIZE + 12 + 300_000)

    assert run(send) == CONTENT + b"notification" + CONTENT[:300_000]


def test_no_message_is_handed_over_before_the_kernel_has_the_file(run: Callable[[Any], Any]) -> None:
    async def send(line: Line) -> list[bytes]:
        loop = asyncio.get_running_loop()
        line.transport.send_file(line.descriptor, 0, SIZE)
        await loop.sock_sendall(line.theirs, struct.pack(">I", 5) + b"hello")
        for _ in range(100):
            await asyncio.sleep(0)
        assert not line.sink.messages
        await line.read(SIZE)
        while not line.sink.messages:
            await asyncio.sleep(0)
        return line.sink.messages

    assert run(send) == [b"hello"]


def test_what_a_file_has_no_more_is_sent_as_zeros(run: Callable[[Any], Any]) -> None:
    async def send(line: Line) -> bytes:
        line.transport.send_file(line.descriptor, 0, SIZE)
        os.ftruncate(line.descriptor, 0)
        return await line.read(SIZE)

    received = run(send)
    sent = len(received.rstrip(b"\0"))
    assert received[: sent - 4096] == CONTENT[: sent - 4096]
    assert sent < SIZE


def test_who_hangs_up_sends_the_file_first(run: Callable[[Any], Any]) -> None:
    async def send(line: Line) -> bytes:
        line.transport.send_file(line.descriptor, 0, SIZE)
        line.transport.close()
        return await line.end()

    assert run(send) == CONTENT


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(run: Callable[[Any], Any]) -> None:
    async def send(line: Line) -> bool:
        line.transport.send_file(line.descriptor, 0, SIZE)
        await line.read(1 << 20)
        line.theirs.close()
        while line.transport._transport is not None:
            await asyncio.sleep(0)
        return line.transport._file is None

    assert run(send)


def test_two_files_follow_each_other(run: Callable[[Any], Any]) -> None:
    async def send(line: Line) -> bytes:
        line.transport.send_file(line.descriptor, 0, SIZE)
        line.transport.send_file(line.descriptor, 7, SIZE - 7)
        return await line.read(SIZE + SIZE - 7)

    assert run(send) == CONTENT + CONTENT[7:]


@pytest.mark.parametrize("call", ["pread", "dup"])
def test_where_the_file_cannot_be_read_the_connection_ends(
    run: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "broken")

    async def send(line: Line) -> list[str]:
        monkeypatch.setattr(os, call, fail)
        line.transport.send_file(line.descriptor, 0, SIZE)
        while line.transport._transport is not None:
            await asyncio.sleep(0)
        return line.sink.complaints

    assert len(run(send)) == 1
