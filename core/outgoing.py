"""What a connection is about to send: frames that gather while a batch is worked on, and leave in one gathering write.

Small replies are written one behind the other into one buffer, the `page`, which is borrowed from the pool for the time
of a batch: no reply has a buffer of its own. What the kernel does not take at once is left to the transport together
with its buffers; each comes back when what lies in it has gone out.
"""

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

from lamina.core.crypto.sealing import TRANSFORM_HEADER_LENGTH

if TYPE_CHECKING:
    from lamina.core.buffers import BufferPool
    from lamina.core.session import SmbSession
    from lamina.core.transport import TcpTransport

PAGE: Final = 128 * 1024
"""Bytes of small replies that gather before they are sent without waiting for the end of a batch."""

_GATHER: Final = 256 * 1024
"""The same for all replies together."""

LONGEST_IN_PAGE: Final = 32 * 1024
"""Bytes of a reply's body beyond which it lies in a buffer of its own."""

FRAME: Final = 4
"""Bytes before a message: its length (MS-SMB2 2.1)."""

pack_length: Final = Struct(">I").pack_into
"""(buffer, at, length): what is at the begin of a frame."""

_NOTHING: Final = bytearray()
_NO_VIEW: Final = memoryview(_NOTHING)


def seal_frame(view: memoryview, at: int, end: int, sealed: "SmbSession | None") -> int:
    """Encrypt the message from `at` to `end` for a session, if it is to be, and put its length before it.

    Where the frame begins. There must be room for the transform header before it, and SPARE bytes behind it. Raises
    NonceExhaustedError.
    """
    if sealed is not None and sealed.sealer is not None:
        sealed.sealer.seal(view, at, end, sealed.session_id)
        at -= TRANSFORM_HEADER_LENGTH
    pack_length(view, at - FRAME, end - at)
    return at - FRAME


class Outgoing:
    """The frames of one connection that were not given to its transport yet, in the order in which they are to go.

    `page` and `view`, a memoryview of it, are where `room` was made; `used` is where the next small reply begins, and
    whoever has written one says so by setting it. `page_is_lent`: somebody is writing behind that, and replies of
    others need buffers of their own meanwhile.
    """

    __slots__ = ("_begun", "_frames", "_gathered", "_in_batch", "_left", "_pool", "_reusable", "_transport", "page",
                 "page_is_lent", "used", "view")  # fmt: skip

    def __init__(self, transport: "TcpTransport", pool: "BufferPool") -> None:
        self._transport = transport
        self._pool = pool
        self._frames: list[memoryview] = []
        self._gathered = 0
        self._reusable: list[bytearray] = []
        # What the transport still sends from, each with the bytes that have gone out when it is free.
        self._left: deque[tuple[int, bytearray]] = deque()
        self._in_batch = False
        self.page = _NOTHING
        self.view = _NO_VIEW
        self.page_is_lent = False
        self.used = 0
        self._begun = 0

    def begin_batch(self) -> None:
        """What is added from now on waits for the end of the batch, or until there is much of it."""
        self._in_batch = True
        if self._left:
            self._take_back()

    def room(self, size: int) -> int:
        """Where up to `size` bytes may be written into `page`, at most PAGE."""
        if self.used + size > PAGE:
            self.flush()
        if self.page is _NOTHING:
            self.page, self.view = self._pool.take_page(PAGE)
        return self.used

    def add(self, frame: memoryview, buffer: bytearray | None = None) -> None:
        """Add a frame; `buffer` is what it lies in, where that may be used again when it has gone out."""
        if self.used != self._begun:
            self._end_part()
        if buffer is not None:
            if len(frame) << 3 < len(buffer):
                # Who asks for much where there is little must not have much held for it until he reads the answer.
                frame = memoryview(bytes(frame))
                self._pool.give(buffer)
            else:
                self._reusable.append(buffer)
        self._frames.append(frame)
        self._gathered += len(frame)
        if self._gathered > _GATHER:
            # What is still in the processor's cache is cheaper to send; and the client need not wait for the rest.
            self.flush()

    def add_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send bytes of a file behind all that is there."""
        self.flush()
        self._transport.send_file(descriptor, offset, count)

    def _end_part(self) -> None:
        self._frames.append(self.view[self._begun : self.used])
        self._gathered += self.used - self._begun
        self._begun = self.used

    def leave_page(self) -> None:
        """Somebody goes on writing into the page: what comes next is written into another one."""
        if self.used != self._begun:
            self._end_part()
        self._forget_page()

    def _forget_page(self) -> None:
        self.page_is_lent = False
        self.page = _NOTHING
        self.view = _NO_VIEW
        self.used = self._begun = 0

    def flush_unless_batched(self) -> None:
        """Send what is there, unless the end of a batch does."""
        if not self._in_batch:
            self.end_of_batch()

    def end_of_batch(self) -> None:
        """Send what has gathered."""
        self._in_batch = False
        if self._frames or self.used != self._begun:
            self.flush()
        if self._left:
            self._take_back()
        if self.page is not _NOTHING:
            self._pool.give_page(self.page, self.view)
            self._forget_page()

    def flush(self) -> None:
        """Send what is there in one gathering write; buffers that the kernel has taken go back to the pool."""
        if self.used != self._begun:
            self._end_part()
        frames, self._frames = self._frames, []
        self._gathered = 0
        if self._transport.send(frames):
            self.used = self._begun = 0
            if self._reusable:
                for buffer in self._reusable:
                    self._pool.give(buffer)
                self._reusable.clear()
            return
        if self.page is not _NOTHING:
            if not self.page_is_lent:
                self._reusable.append(self.page)
            self._forget_page()
        end = self._transport.bytes_sent
        self._left.extend([(end, buffer) for buffer in self._reusable])
        self._reusable.clear()

    def rest(self) -> None:
        """Called now and then: what has gone out meanwhile needs no buffers."""
        if self._left:
            self._take_back()

    def _take_back(self) -> None:
        """Give the pool what the transport sends from no more.

        One by one: a client that always leaves something to be sent must not keep the buffers of all that it has read.
        """
        gone = self._transport.bytes_sent - self._transport.unsent()
        while self._left and self._left[0][0] <= gone:
            self._pool.give(self._left.popleft()[1])

    def bytes_queued(self) -> int:
        """How many bytes have been given to the transport, or will be at the end of the batch."""
        return self._transport.bytes_sent + self._gathered + self.used - self._begun
