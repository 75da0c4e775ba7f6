"""What is about to be sent: in which order it leaves, and when the buffers it lies in may be used again."""

from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.buffers import MINIMUM, BufferPool
from lamina.core.outgoing import PAGE, Outgoing

if TYPE_CHECKING:
    from lamina.core.transport import TcpTransport

SIZE = 4 * MINIMUM


class Socket:
    """A transport whose kernel takes what it is told to, and then no more until `drain`."""

    def __init__(self, takes: int = 1 << 40) -> None:
        self.takes = takes
        self.bytes_sent = 0
        self._waiting: list[memoryview] = []
        self.received = b""

    def send(self, chunks: list[memoryview]) -> bool:
        self.bytes_sent += sum(map(len, chunks))
        self._waiting += chunks
        self.drain(0)
        return not self._waiting

    def drain(self, more: int) -> None:
        """The client reads `more` bytes."""
        self.takes += more
        while self._waiting and self.takes:
            chunk = self._waiting.pop(0)
            count = min(self.takes, len(chunk))
            self.received += bytes(chunk[:count])
            self.takes -= count
            if count < len(chunk):
                self._waiting.insert(0, chunk[count:])

    def unsent(self) -> int:
        return sum(map(len, self._waiting))


class Pool(BufferPool):
    """Counts what is out."""

    __slots__ = ("out",)

    def __init__(self) -> None:
        super().__init__()
        self.out: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        self.out.append(super().take(size))
        return self.out[-1]

    def give(self, buffer: bytearray) -> None:
        self._came_back(buffer)
        super().give(buffer)

    def take_page(self, size: int) -> tuple[bytearray, memoryview]:
        page = super().take_page(size)
        if all(one is not page[0] for one in self.out):
            self.out.append(page[0])
        return page

    def give_page(self, buffer: bytearray, view: memoryview) -> None:
        self._came_back(buffer)
        self.out.append(buffer)
        super().give_page(buffer, view)
        self.out = [one for one in self.out if one is not buffer]

    def _came_back(self, buffer: bytearray) -> None:
        index = next(index for index, one in enumerate(self.out) if one is buffer)
        del self.out[index]


def make(takes: int = 1 << 40) -> tuple[Outgoing, Socket, Pool]:
    socket, pool = Socket(takes), Pool()
    return Outgoing(cast("TcpTransport", socket), pool), socket, pool


def add_large(out: Outgoing, pool: Pool, content: bytes) -> None:
    buffer = pool.take(SIZE)
    buffer[: len(content)] = content
    out.add(memoryview(buffer)[: len(content)], buffer)


def add_small(out: Outgoing, content: bytes) -> None:
    at = out.room(len(content))
    out.page[at : at + len(content)] = content
    out.used = at + len(content)


def test_what_the_kernel_takes_leaves_no_buffer_behind() -> None:
    out, socket, pool = make()
    out.begin_batch()
    add_small(out, b"a" * 100)
    add_large(out, pool, b"b" * SIZE)
    add_small(out, b"c" * 100)
    out.end_of_batch()
    assert socket.received == b"a" * 100 + b"b" * SIZE + b"c" * 100
    assert not pool.out


def test_a_client_that_never_reads_all_does_not_keep_the_buffers_of_all_that_it_has_read() -> None:
    out, socket, pool = make(takes=0)
    for number in range(50):
        out.begin_batch()
        add_large(out, pool, bytes([number]) * SIZE)
        out.end_of_batch()
        socket.drain(SIZE if number >= 2 else 0)
    assert socket.unsent() == 2 * SIZE
    assert len(pool.out) <= 3
    assert socket.received == b"".join(bytes([number]) * SIZE for number in range(48))


@given(st.lists(st.tuples(st.integers(1, 3 * MINIMUM), st.booleans(), st.integers(0, 4 * MINIMUM)), max_size=30))
def test_no_buffer_is_used_again_before_what_lies_in_it_has_gone_out(steps: list[tuple[int, bool, int]]) -> None:
    out, socket, pool = make(takes=0)
    expected = b""
    for number, (size, large, read) in enumerate(steps):
        content = bytes([number]) * (size if large else min(size, PAGE // 8))
        expected += content
        out.begin_batch()
        if large:
            add_large(out, pool, content)
        else:
            add_small(out, content)
        out.end_of_batch()
        socket.drain(read)
    socket.drain(1 << 40)
    assert socket.received == expected
    out.begin_batch()
    out.end_of_batch()
    assert not pool.out


def test_a_small_answer_does_not_hold_the_large_buffer_that_was_asked_for() -> None:
    out, socket, pool = make(takes=0)
    out.begin_batch()
    for number in range(10):
        buffer = pool.take(SIZE)
        buffer[:9] = b"little %02d" % number
        out.add(memoryview(buffer)[:9], buffer)
        buffer[:9] = bytes(9)
    assert not pool.out
    out.end_of_batch()
    socket.drain(1 << 40)
    assert socket.received == b"".join(b"little %02d" % number for number in range(10))


def test_an_idle_connection_gives_back_what_has_gone_out() -> None:
    out, socket, pool = make(takes=0)
    out.begin_batch()
    add_large(out, pool, b"a" * SIZE)
    out.end_of_batch()
    out.rest()
    assert len(pool.out) == 1
    socket.drain(SIZE)
    out.rest()
    assert not pool.out


def test_a_page_that_somebody_still_writes_into_is_not_given_back() -> None:
    out, socket, pool = make(takes=0)
    out.begin_batch()
    add_small(out, b"a" * 20)
    page = out.page
    out.page_is_lent = True
    add_large(out, pool, b"b" * SIZE)
    assert out.page is not page
    out.end_of_batch()
    socket.drain(1 << 40)
    out.begin_batch()
    out.end_of_batch()
    assert [one is page for one in pool.out] == [True]
    assert socket.received == b"a" * 20 + b"b" * SIZE
