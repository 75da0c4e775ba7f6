"""Clients that read and write at once get and leave nothing of each other, whatever waits or comes late."""

import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lamina.core import outgoing
from lamina.core.wire.constants import Command
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.read import ReadRequest, decode_read_response, encode_read_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.engine import breathe, offload, sleep
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.served import Served, new_file
from tests.support.wire_client import Open, WireClient

_SIZE = 1 << 20
_LENGTHS = (1, 100, 4096, outgoing.LONGEST_IN_PAGE, outgoing.LONGEST_IN_PAGE + 1, 65536, 200_000)
_MARKS = b"ABC"


class _Moody(VfsModule):
    """Waits as the offset says: not at all, for its turn, for a moment, or for a thread that comes late."""

    def __init__(self) -> None:
        super().__init__()
        # Threads take their time without a clock: each waits for the one before it to be over.
        self._one_at_a_time = threading.Lock()

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        if offset % 4 == 3:
            return offload(token, self._late, os.preadv, handle.fd, (buffer,), offset)
        self._wait(offset)
        return self.next.pread(token, handle, buffer, offset)

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        if offset % 4 == 3:
            return offload(token, self._late, os.pwrite, handle.fd, data, offset)
        self._wait(offset)
        return self.next.pwrite(token, handle, data, offset)

    def _wait(self, offset: int) -> None:
        if offset % 4 == 1:
            breathe()
        elif offset % 4 == 2:
            sleep(0.002)

    def _late(self, call: Callable[..., int], *arguments: object) -> int:
        with self._one_at_a_time:
            os.sched_yield()
            return call(*arguments)


@dataclass
class _Client:
    """A client whose file holds one letter only, and which writes no other."""

    wire: WireClient
    file: Open
    mark: bytes
    encrypted: bool

    def ask(self, chance: random.Random) -> tuple[bytes, int]:
        """Some requests, framed, and how many answers they get."""
        frames, answers = b"", 0
        for _ in range(chance.randrange(1, 12)):
            command, body, payload = self._request(chance)
            message = self.wire.build(command, body, payload=payload, sign=not self.encrypted, credits=8)
            frames += self._framed(message)
            answers += 1
        return frames, answers

    def _request(self, chance: random.Random) -> tuple[int, bytes, int]:
        kind, length, offset = chance.random(), chance.choice(_LENGTHS), chance.randrange(_SIZE)
        if kind < 0.15:
            return Command.ECHO, encode_empty(), 0
        if kind < 0.6:
            return Command.READ, encode_read_request(ReadRequest(*self.file.file_id, offset, length)), length
        data = memoryview(self.mark * length)
        return Command.WRITE, encode_write_request(WriteRequest(*self.file.file_id, offset, data)), length

    def _framed(self, message: bytearray) -> bytes:
        whole = bytes(self.wire.seal(message)) if self.encrypted else bytes(message)
        return struct.pack(">I", len(whole)) + whole

    def check(self, answers: int) -> None:
        """Receive so many answers; what was read is of this client."""
        while answers:
            response = self.wire.recv()
            if response.status == NtStatus.PENDING:
                continue
            answers -= 1
            assert response.encrypted == self.encrypted
            assert response.check().header.command in {Command.ECHO, Command.READ, Command.WRITE}
            if response.header.command == Command.READ:
                found = bytes(decode_read_response(response.message).data)
                assert found == self.mark * len(found)


def _shorten(served: Served, wire: WireClient) -> None:
    """Let the kernel take little of what the client does not read: the rest waits in the server."""
    port = wire.socket.getsockname()[1]
    (transport,) = (one.transport for one in served.core.connections if one.transport.peer[1] == port)
    sender = transport._transport.get_extra_info("socket")  # type: ignore[union-attr]
    served.call(lambda: sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768))


@pytest.mark.parametrize("seed", range(4))
def test_nobody_gets_or_leaves_anything_of_another(serve: Callable[..., Served], seed: int) -> None:
    served = serve(chain=[_Moody(), "posix"])
    chance = random.Random(seed)
    clients = []
    for number, mark in enumerate(_MARKS):
        name = chr(mark)
        (served.folder / name).write_bytes(bytes([mark]) * _SIZE)
        wire = served.connected()
        _shorten(served, wire)
        for _ in range(3):
            wire.transact(Command.ECHO, encode_empty(), credits=200)
        clients.append(_Client(wire, new_file(wire, name), bytes([mark]), number == seed % 3))
    for _ in range(12):
        asked = [(client, *client.ask(chance)) for client in clients]
        for client, frames, _ in asked:
            client.wire.send_bytes(frames)
        for client, _, answers in chance.sample(asked, len(asked)):
            client.check(answers)
    for client in clients:
        content = (served.folder / client.mark.decode()).read_bytes()
        assert content == client.mark * len(content)
