"""Direct TCP transport (MS-SMB2 2.1): frames in a reused buffer, gathering writes.

Receives straight into the connection's buffer and hands over a memoryview of each message. A buffer that a parked
request still refers to is left to it and replaced. Replies are written with one gathering system call; what the
socket does not take at once is left to the event loop's transport, which also tells when to stop reading from a
client that does not read its replies.
"""

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Sequence
from typing import Final, Protocol, cast

from lamina.core.buffers import BufferPool
from lamina.core.crypto.sealing import SPARE

_length: Final = struct.Struct(">I").unpack_from
IDLE_BUFFER = 16 * 1024
"""Bytes that an idle connection can receive at once."""

_BUSY_BUFFER: Final = 128 * 1024 - SPARE
"""The same for one that has sent more than that at once."""

_MOVED: Final = 16 * 1024
"""Bytes that are rather moved to the front of the buffer than left without much room behind them."""

_INT = struct.Struct("i")
_TCP_INFO_RTO = struct.Struct("8xI")
_EXACT = 64 * 1024
_HIGH_WATER = 4 * 1024 * 1024

_COPIED: Final = 64 * 1024
"""Bytes that are rather copied than left to be sent from a buffer that may be much larger."""

_NUDGE: Final = 16 * 1024
"""Bytes of a file that the event loop is left, so that it says when the kernel takes more."""


class MessageSink(Protocol):
    """Whoever the messages are for: the connection."""

    message_limit: int

    def receive(self, message: memoryview) -> bool:
        """Take one message, and any number of those behind it; True if parked requests still refer to their bytes."""
        ...

    def end_of_batch(self) -> None:
        """All that one receive brought has been handed over: send what has gathered."""
        ...

    def malformed(self, explanation: str) -> None:
        """The peer does not speak the protocol; the transport is closed after this."""
        ...

    def lost(self) -> None:
        """The transport is gone."""
        ...


class TcpTransport(asyncio.BufferedProtocol):
    """One TCP connection. `sink` is set by `attach` before the first byte is read."""

    def __init__(self, pool: BufferPool) -> None:
        self._pool = pool
        self._use(bytearray(IDLE_BUFFER + SPARE))
        self._last = 0
        self._start = 0
        self._end = 0
        self._needed = 0
        self._fd = -1
        # Nothing of what came together with the reason for an abort is handed over any more.
        self._ended = False
        # While the client does not read its replies, its requests stay where they are.
        self._paused = False
        self._handing_over = False
        # What is being sent of a file: a descriptor of our own, where it goes on, and how much is left.
        self._file: tuple[int, int, int] | None = None
        self._transport: asyncio.Transport | None = None
        self._sink: MessageSink | None = None
        self.peer: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self.bytes_received = 0
        self._received_before = -1
        self.bytes_sent = 0

    def _use(self, buffer: bytearray) -> None:
        """Receive into `buffer` from now on, but for its last SPARE bytes."""
        self._buffer = buffer
        self._whole = memoryview(buffer)
        self._view = self._whole[:-SPARE]

    def attach(self, sink: MessageSink) -> None:
        """Give the messages to `sink` from now on."""
        self._sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the socket. Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_HIGH_WATER)
        self._fd = transport.get_extra_info("socket").fileno()
        self.peer = tuple(transport.get_extra_info("peername") or ("", 0))[:2]
        self.local = tuple(transport.get_extra_info("sockname") or ("", 0))[:2]

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the connection. Called by the event loop."""
        self._transport = None
        self._end_file()
        self._fd = -1
        if self._sink is not None:
            self._sink.lost()
            self._sink = None

    def pause_writing(self) -> None:
        """The client does not read its replies: take no more requests from it. Called by the event loop."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again: go on with what had arrived. Called by the event loop."""
        self._paused = False
        if self._file is not None:
            self._go_on()
            if self._paused or self._ended:
                return
        if self._transport is not None:
            self._transport.resume_reading()
        if self._sink is not None and not self._handing_over:
            self._hand_over(self._sink)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go. Called by the event loop."""
        if self._needed > _EXACT:
            # Receiving just to the end of a large message spares copying the beginning of the next one.
            return self._view[self._end : self._start + self._needed]
        return self._view[self._end :] if self._end else self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Hand over each complete message. Called by the event loop."""
        self._end += nbytes
        self.bytes_received += nbytes
        if self._sink is not None:
            self._hand_over(self._sink)

    def _hand_over(self, sink: MessageSink) -> None:
        kept = False
        self._handing_over = True
        while (message := self.next_message()) is not None:
            kept = sink.receive(message) or kept
        sink.end_of_batch()
        self._handing_over = False
        if self._paused:
            # What has arrived may be several messages, which all must be kept.
            self._needed = max(self._needed, self._end - self._start)
        self._make_room(kept)

    def next_message(self) -> memoryview | None:
        """The next message of those that have arrived, if all of it is there; for the sink, in a batch.

        Sets `_needed` to how much there must be for the one that is not all there.
        """
        limit = self._sink.message_limit if self._sink is not None else 0
        while not (self._ended or self._paused):
            start = self._start
            available = self._end - start
            if available < 4:
                self._needed = 4
                return None
            length = _length(self._buffer, start)[0]
            if length > limit:
                self._refuse(length)
                return None
            self._needed = needed = 4 + length
            if available < needed:
                return None
            self._last = start + 4
            end = self._start = start + needed
            if needed > 4:
                return self._view[start + 4 : end]
        return None

    def _refuse(self, length: int) -> None:
        sink = self._sink
        if sink is not None:
            # A first byte that is not zero (MS-SMB2 2.1) shows as a length beyond 16 MiB.
            sink.malformed(f"message of {length} bytes announced, at most {sink.message_limit} are allowed now")
        self.abort()

    def whereabouts(self) -> tuple[memoryview, int, int]:
        """Where the message lies that `next_message` gave last: what it is received into, its start, and its end.

        There are SPARE bytes behind it, to be left as they were.
        """
        return self._whole, self._last, self._start

    def _make_room(self, kept: bool) -> None:
        rest = self._end - self._start
        size = len(self._view)
        if not (kept or rest) and self._end < size and self._needed <= size:
            self._start = self._end = 0
            return
        if kept or self._needed > size or self._is_full(rest):
            self._replace_buffer(kept, rest)
        elif not self._start or (rest > _MOVED and self._start + self._needed <= size):
            return
        elif rest:
            self._buffer[:rest] = self._buffer[self._start : self._end]
        self._start = 0
        self._end = rest

    def _is_full(self, rest: int) -> bool:
        """Whether the client has sent more at once than there is room for, and may be given more."""
        size = len(self._view)
        return self._end == size < _BUSY_BUFFER and rest < size and self._sink_takes(_BUSY_BUFFER)

    def _sink_takes(self, size: int) -> bool:
        return self._sink is not None and self._sink.message_limit >= size

    def _replace_buffer(self, kept: bool, rest: int) -> None:
        old, old_view = self._buffer, self._view
        size = max(self._needed, rest, _BUSY_BUFFER if self._is_full(rest) else IDLE_BUFFER)
        self._use(self._pool.take(size + SPARE))
        self._view[:rest] = old_view[self._start : self._end]
        if kept:
            self._pool.lend(old)
        else:
            self._pool.give(old)

    def rest(self) -> None:
        """Called now and then: a client that has sent nothing since the last time needs no large buffer."""
        if self.bytes_received == self._received_before and not self._end and len(self._view) > IDLE_BUFFER:
            self._pool.give(self._buffer)
            self._use(bytearray(IDLE_BUFFER + SPARE))
        self._received_before = self.bytes_received

    def send(self, chunks: Sequence[bytes | bytearray | memoryview]) -> bool:
        """Send all of `chunks`; True if their buffers may be used again: the kernel has them, or they were copied."""
        transport = self._transport
        if transport is None:
            return True
        if transport.is_closing():
            # A client that says no more may still read what was sent before.
            return transport.get_write_buffer_size() == 0
        size = len(chunks[0]) if len(chunks) == 1 else sum(map(len, chunks))
        self.bytes_sent += size
        sent = 0
        if transport.get_write_buffer_size() == 0:
            try:
                sent = _write(self._fd, chunks)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                transport.abort()
                return True
            if sent == size:
                return True
        if self._file is not None:
            self._read_on(self._file[2])
        if size - sent > _COPIED:
            transport.writelines(_after(chunks, sent))
            return False
        transport.write(b"".join(_after(chunks, sent)))
        return True

    def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send bytes of a file behind all that was sent, without a copy (sendfile(2)).

        Those that the kernel does not take at once it is given as soon as it takes more; until then no message is
        handed over. What the file has no more by then is sent as zeros, as the client waits for so many bytes.
        """
        if self._transport is None or self._transport.is_closing():
            return
        if self._file is not None:
            self._read_on(self._file[2])
        self.bytes_sent += count
        left = self._push(descriptor, offset, count)
        if left:
            try:
                own = os.dup(descriptor)
            except OSError as error:
                self._cannot_go_on(error)
                return
            self._file = own, offset + count - left, left
            # So the event loop says at once when it has to wait, and when it need not any more.
            self._transport.set_write_buffer_limits(0)
            self._go_on()

    def _push(self, descriptor: int, offset: int, count: int) -> int:
        """Give the kernel bytes of a file; how many are left."""
        assert self._transport is not None
        if self._transport.get_write_buffer_size():
            return count
        try:
            while count and (taken := os.sendfile(self._fd, descriptor, offset, count)):
                offset += taken
                count -= taken
        except OSError:
            # Where it is not that the kernel takes no more, reading the file or writing to the socket will show it.
            pass
        return count

    def _go_on(self) -> None:
        """Send what is left of the file until the event loop has to wait for the client."""
        while self._file is not None and not self._paused:
            if self._transport is None or self._transport.is_closing():
                self._end_file()
                return
            descriptor, offset, before = self._file
            left = self._push(descriptor, offset, before)
            self._file = descriptor, offset + before - left, left
            self._read_on(_NUDGE)

    def _read_on(self, most: int) -> None:
        """Leave up to so many bytes of what is left of the file to the event loop."""
        transport, file = self._transport, self._file
        if transport is None or file is None:
            return
        descriptor, offset, left = file
        size = min(left, most)
        try:
            data = _read_exactly(descriptor, offset, size)
        except OSError as error:
            self._cannot_go_on(error)
            return
        self._file = descriptor, offset + size, left - size
        if left == size:
            self._end_file()
        if size:
            transport.write(data)

    def _cannot_go_on(self, error: OSError) -> None:
        """The client waits for bytes of a file that are not to be had."""
        self._end_file()
        if self._sink is not None:
            self._sink.malformed(f"it has been told of bytes of a file that cannot be sent: {error}")
        self.abort()

    def _end_file(self) -> None:
        if self._file is not None:
            os.close(self._file[0])
            self._file = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.set_write_buffer_limits(_HIGH_WATER)

    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet, and whose buffers must be left alone."""
        if self._transport is None:
            return 0
        queued = self._transport.get_write_buffer_size()
        return queued if self._file is None else queued + self._file[2]

    def bytes_acknowledged(self) -> int:
        """How many of the bytes sent the client's TCP has acknowledged (tcp(7), SIOCOUTQ)."""
        if self._fd < 0:
            return 0
        queued = _INT.unpack(fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(_INT.size)))[0]
        return self.bytes_sent - self.unsent() - int(queued)

    def retransmission_timeout(self) -> float:
        """Seconds after which the kernel sends again what is not acknowledged (tcp(7), TCP_INFO)."""
        raw = self._transport.get_extra_info("socket") if self._transport is not None else None
        if raw is None:
            return 0.0
        information = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTO.size)
        return float(_TCP_INFO_RTO.unpack(information)[0]) / 1_000_000

    def close(self) -> None:
        """Close after what was sent has gone out."""
        if self._file is not None:
            self._read_on(self._file[2])
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()


def _write(fd: int, chunks: Sequence[bytes | bytearray | memoryview]) -> int:
    if len(chunks) == 1:
        return os.write(fd, chunks[0])
    return os.writev(fd, chunks) if len(chunks) <= 1024 else 0


def _after(chunks: Sequence[bytes | bytearray | memoryview], sent: int) -> list[memoryview]:
    rest = []
    for chunk in chunks:
        view = memoryview(chunk)
        if sent >= len(view):
            sent -= len(view)
        else:
            rest.append(view[sent:])
            sent = 0
    return rest


def _read_exactly(descriptor: int, offset: int, size: int) -> bytes:
    """So many bytes of a file, zeros where it ends before."""
    found = b""
    while len(found) < size and (more := os.pread(descriptor, size - len(found), offset + len(found))):
        found += more
    return found.ljust(size, b"\0")
