"""Framing: messages come out whole however the bytes arrive, and buffers are given up while somebody refers to them."""

import asyncio
import random
import socket
import struct
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.accepted_transport import AcceptedTransport
from lamina.core.buffers import BufferPool
from lamina.core.transport import IDLE_BUFFER, TcpTransport

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer


class Sink:
    """Keeps copies of messages, or the views themselves when asked to."""

    message_limit = 1 << 20

    def __init__(self, keep: Callable[[int], bool] = lambda _: False) -> None:
        self.messages: list[bytes] = []
        self.views: list[tuple[memoryview, bytes]] = []
        self.complaints: list[str] = []
        self._keep = keep

    def receive(self, message: memoryview) -> bool:
        self.messages.append(bytes(message))
        if self._keep(len(self.messages)):
            self.views.append((message, bytes(message)))
            return True
        return False

    def end_of_batch(self) -> None:
        pass

    def malformed(self, explanation: str) -> None:
        self.complaints.append(explanation)

    def lost(self) -> None:
        pass


def feed(transport: TcpTransport, data: bytes, cuts: random.Random) -> None:
    while data:
        view = transport.get_buffer(-1)
        count = min(len(view), len(data), cuts.choice([1, 3, 100, 5_000, 70_000]))
        view[:count] = data[:count]
        data = data[count:]
        transport.buffer_updated(count)


def frames(sizes: list[int]) -> tuple[list[bytes], bytes]:
    bodies = [random.Random(size).randbytes(size) for size in sizes]
    return bodies, b"".join(struct.pack(">I", len(body)) + body for body in bodies)


@given(st.lists(st.sampled_from([1, 64, 100, 5_000, IDLE_BUFFER, 70_000, 300_000]), max_size=12), st.integers())
@settings(deadline=None)
def test_messages_come_out_whole_however_the_bytes_arrive(sizes: list[int], seed: int) -> None:
    bodies, stream = frames(sizes)
    transport, sink = TcpTransport(BufferPool()), Sink()
    transport.attach(sink)
    feed(transport, stream, random.Random(seed))
    assert sink.messages == bodies


@given(st.lists(st.sampled_from([64, 100, 5_000, 70_000]), max_size=12), st.integers())
@settings(deadline=None)
def test_a_message_that_is_still_referred_to_keeps_its_bytes(sizes: list[int], seed: int) -> None:
    _, stream = frames(sizes)
    transport, sink = TcpTransport(BufferPool()), Sink(keep=lambda count: count % 2 == 0)
    transport.attach(sink)
    feed(transport, stream, random.Random(seed))
    assert all(bytes(view) == copy for view, copy in sink.views)


def test_an_idle_connection_gives_its_large_buffer_back() -> None:
    transport, sink = TcpTransport(BufferPool()), Sink()
    transport.attach(sink)
    feed(transport, frames([300_000])[1], random.Random(1))
    transport.rest()
    assert len(transport.get_buffer(-1)) > IDLE_BUFFER
    transport.rest()
    assert len(transport.get_buffer(-1)) == IDLE_BUFFER


def test_a_connection_that_waits_for_the_end_of_a_message_keeps_its_buffer() -> None:
    transport, sink = TcpTransport(BufferPool()), Sink()
    transport.attach(sink)
    (body,), stream = frames([300_000])
    feed(transport, stream[:-1], random.Random(1))
    transport.rest()
    transport.rest()
    feed(transport, stream[-1:], random.Random(1))
    assert sink.messages == [body]


def test_a_client_that_fills_the_buffer_may_send_more_at_once() -> None:
    transport, sink = TcpTransport(BufferPool()), Sink()
    transport.attach(sink)
    bodies, stream = frames([4_000] * 100)
    while stream:
        view = transport.get_buffer(-1)
        count = min(len(view), len(stream))
        view[:count] = stream[:count]
        stream = stream[count:]
        transport.buffer_updated(count)
    assert sink.messages == bodies
    assert len(transport.get_buffer(-1)) > 4 * IDLE_BUFFER


@given(st.lists(st.sampled_from([64, 100, 5_000, 20_000]), min_size=2, max_size=12), st.integers(0, 5), st.booleans())
def test_while_replies_are_not_read_no_message_is_handed_over_and_none_is_lost(
    sizes: list[int], before: int, keep: bool
) -> None:
    bodies, stream = frames(sizes)
    transport, sink = TcpTransport(BufferPool()), Sink(keep=lambda _: keep)

    def receive(message: memoryview) -> bool:
        kept = Sink.receive(sink, message)
        if len(sink.messages) > before:
            transport.pause_writing()
        return kept

    sink.receive = receive  # type: ignore[method-assign]
    transport.attach(sink)
    while stream:
        view = transport.get_buffer(-1)
        count = min(len(view), len(stream))
        view[:count] = stream[:count]
        stream = stream[count:]
        transport.buffer_updated(count)
        while transport._paused:
            handed = len(sink.messages)
            transport.resume_writing()
            if len(sink.messages) == handed:
                break
            assert len(sink.messages) == handed + 1
    assert sink.messages == bodies
    assert all(bytes(view) == copy for view, copy in sink.views)


def test_an_empty_message_is_passed_over() -> None:
    transport, sink = TcpTransport(BufferPool()), Sink()
    transport.attach(sink)
    feed(transport, bytes(4) + frames([64])[1], random.Random(1))
    assert len(sink.messages) == 1


@pytest.mark.parametrize("header", [b"\x85\x00\x00\x00", b"\x00\x20\x00\x00", b"GET "])
def test_a_frame_that_is_too_long_or_no_frame_ends_the_connection(header: bytes) -> None:
    transport, sink = TcpTransport(BufferPool()), Sink()
    transport.attach(sink)
    feed(transport, header, random.Random(1))
    assert len(sink.complaints) == 1
    assert not sink.messages


def test_what_the_socket_does_not_take_at_once_arrives_later_in_order() -> None:
    chunks = [bytes([n]) * 400_000 for n in range(20)]

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        made: list[TcpTransport] = []

        def factory() -> TcpTransport:
            made.append(TcpTransport(BufferPool()))
            return made[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        while not made or not made[0].peer[0]:
            await asyncio.sleep(0)
        for chunk in chunks:
            made[0].send([chunk[:10], memoryview(chunk)[10:]])
        made[0].close()
        received = await reader.read(-1)
        writer.close()
        server.close()
        return received

    assert asyncio.run(run()) == b"".join(chunks)


def test_what_was_left_is_copied_where_it_is_small_and_otherwise_not() -> None:
    async def run() -> tuple[bool, bool, bytes]:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, transport = await loop.connect_accepted_socket(lambda: TcpTransport(BufferPool()), ours)
        reader, writer = await asyncio.open_connection(sock=theirs)
        filled = sum(iter(lambda: _fill(transport), 0))
        small, large = bytearray(b"a" * 1000), bytearray(b"b" * 1_000_000)
        free = transport.send([memoryview(small)]), transport.send([memoryview(large)])
        small[:] = bytes(1000)
        transport.close()
        received = await reader.read(-1)
        writer.close()
        return *free, received[filled:]

    assert asyncio.run(run()) == (True, False, b"a" * 1000 + b"b" * 1_000_000)


def _fill(transport: TcpTransport) -> int:
    """Send until the kernel takes no more; the bytes that were sent."""
    if transport.unsent():
        return 0
    transport.send([bytes(1000)])
    return 1000


def test_the_buffer_of_a_message_that_was_kept_is_used_again_when_nobody_refers_to_it() -> None:
    pool = BufferPool()
    transport, sink = TcpTransport(pool), Sink(keep=lambda _: True)
    transport.attach(sink)
    _, stream = frames([300_000] * 2)
    numbers = []
    for _ in range(5):
        feed(transport, stream, random.Random(1))
        numbers += [id(view.obj) for view, _ in sink.views]
        assert all(bytes(view) == copy for view, copy in sink.views)
        sink.views.clear()
    assert len(numbers) == 10
    assert len(set(numbers)) <= 4


def test_a_connection_that_begins_again_has_messages_that_signatures_can_be_checked_in() -> None:
    server = types.SimpleNamespace(buffers=BufferPool())
    transport, sink = AcceptedTransport(cast("SmbServer", server)), Sink(lambda _: True)
    transport.attach(sink)
    transport.begin_again(b"first", b"second")
    assert sink.messages == [b"first", b"second"]
    assert not any(view.readonly for view, _ in sink.views)
