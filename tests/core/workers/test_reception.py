"""Accepting connections: each is handed on unread when its client has said who it is, and dropped if it does not."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from lamina.core.settings import Limits
from lamina.core.workers import reception
from lamina.core.workers.reception import Reception
from tests.support.negotiates import GUID, negotiate


class Placed(NamedTuple):
    """A connection that was handed on."""

    connection: socket.socket
    peer: str
    guid: bytes


class Desk:
    """A reception on a free port, and what it has handed on."""

    def __init__(self, limits: Limits) -> None:
        self.placed: asyncio.Queue[Placed] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.reception = Reception(loop, limits, lambda *what: self.placed.put_nowait(Placed(*what)))
        self.port = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


def at_a_desk(work: Callable[[Desk], Awaitable[None]], limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
    async def run() -> None:
        desk = Desk(limits)
        desk.port = await desk.reception.listen("127.0.0.1", 0)
        async with asyncio.timeout(20):
            await work(desk)
        desk.reception.close()
        assert desk.reception.names() == []

    asyncio.run(run())


def test_nothing_of_what_a_client_says_is_taken_however_it_comes() -> None:
    async def work(desk: Desk) -> None:
        _, writer = await desk.connect()
        for byte in negotiate():
            writer.write(bytes([byte]))
            await writer.drain()
        placed = await desk.placed.get()
        assert (placed.peer, placed.guid) == ("127.0.0.1", GUID)
        assert placed.connection.recv(1000, socket.MSG_WAITALL)[:96] == negotiate()[:96]
        assert desk.reception.open_from["127.0.0.1"] == 1
        desk.reception.gone_from("127.0.0.1")
        assert not desk.reception.open_from
        placed.connection.close()
        writer.close()

    at_a_desk(work)


def test_who_says_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "SILENT_SECONDS", 0.01)

    async def work(desk: Desk) -> None:
        reader, writer = await desk.connect()
        assert await reader.read() == b""
        assert not desk.reception.open_from
        writer.close()

    at_a_desk(work)


@pytest.mark.parametrize("said", [b"", b"\0", negotiate()[:50]])
def test_who_leaves_early_is_forgotten(said: bytes) -> None:
    async def work(desk: Desk) -> None:
        reader, writer = await desk.connect()
        writer.write(said)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert not desk.reception.open_from
        assert desk.placed.empty()
        writer.close()

    at_a_desk(work)


def test_only_so_many_come_from_one_address() -> None:
    async def work(desk: Desk) -> None:
        _, first = await desk.connect()
        first.write(negotiate())
        placed = await desk.placed.get()
        reader, second = await desk.connect()
        assert await reader.read() == b""
        placed.connection.close()
        desk.reception.gone_from(placed.peer)
        _, third = await desk.connect()
        third.write(b"\0\0\0\x20\xffSMBr" + bytes(30))
        assert (await desk.placed.get()).guid == bytes(16)
        for writer in (first, second, third):
            writer.close()

    at_a_desk(work, Limits(connections_per_address=1))
