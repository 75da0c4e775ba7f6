"""ClamAV's clamd as somebody to ask: each question is a connection of its own, as clamd has it."""

import contextlib
from collections.abc import Callable
from typing import Final

from lamina.vfs_modules.stock.scanning import clamd_protocol as protocol
from lamina.vfs_modules.stock.scanning.clamd_protocol import Outcome, Verdict
from lamina.vfs_modules.stock.scanning.line import Address, Line

_CHUNK: Final = 256 << 10

Read = Callable[[memoryview, int], int]
"""Fills a buffer from an offset; how many bytes there were."""


class Clamd:
    """A clamd at an address. All methods may wait; none raises anything but what cancels a request."""

    def __init__(self, address: Address, connect_timeout: float, io_timeout: float) -> None:
        self._address, self._connect_timeout, self._io_timeout = address, connect_timeout, io_timeout

    def _call(self) -> Line:
        return Line(self._address, self._connect_timeout, self._io_timeout)

    def scan(self, read: Read, limit: int) -> Verdict:
        """What clamd says of the bytes that `read` gives, at most `limit` of them."""
        try:
            with contextlib.closing(self._call()) as line:
                # Who has heard enough hangs up in the middle, and has said why.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    _stream(line, read, limit)
                return protocol.parse_verdict(line.receive(b"\0", protocol.LONGEST_ANSWER))
        except OSError as error:
            return Verdict(Outcome.FAILED, error.strerror or str(error) or type(error).__name__)

    def version(self) -> str:
        """Which clamd this is, with which signatures; "" where it does not answer."""
        return self._ask(protocol.VERSION)

    def is_there(self) -> bool:
        """Whether it answers."""
        return self._ask(protocol.PING) == protocol.PONG.decode()

    def _ask(self, question: bytes) -> str:
        try:
            with contextlib.closing(self._call()) as line:
                line.send(question)
                return line.receive(b"\0", protocol.LONGEST_ANSWER).decode("utf-8", "replace")
        except OSError:
            return ""


def _stream(line: Line, read: Read, limit: int) -> None:
    line.send(protocol.INSTREAM)
    buffer = bytearray(_CHUNK)
    offset = 0
    while offset < limit and (count := read(memoryview(buffer)[: limit - offset], offset)):
        # One packet each: the length alone would wait for the answer to the chunk before.
        line.send(protocol.chunk_header(count) + memoryview(buffer)[:count])
        offset += count
    line.send(protocol.END_OF_STREAM)
