"""Large buffers kept for reuse: a fresh megabyte costs more in page faults than it does to fill.

Small buffers are not kept: the allocator is as fast.
"""

from collections import deque
from sys import getrefcount
from typing import Final

MINIMUM: Final = 64 * 1024
"""Buffers below this size are not pooled."""

_KEEP_BYTES: Final = 64 * 1024 * 1024


class BufferPool:
    """Free buffers by capacity (multiples of MINIMUM), at most `_KEEP_BYTES` in total; and as much that is lent."""

    __slots__ = ("_free", "_kept", "_lent", "_lent_bytes", "_page")

    def __init__(self) -> None:
        self._free: dict[int, list[bytearray]] = {}
        self._kept = 0
        self._lent: deque[bytearray] = deque()
        self._lent_bytes = 0
        self._page: tuple[bytearray, memoryview] | None = None

    def take_page(self, size: int) -> tuple[bytearray, memoryview]:
        """A buffer of `size` bytes, the same at each call, with a view of it; mostly the one given back last."""
        page, self._page = self._page, None
        if page is None:
            buffer = self.take(size)
            page = buffer, memoryview(buffer)
        return page

    def give_page(self, buffer: bytearray, view: memoryview) -> None:
        """Give back what `take_page` gave, and nobody refers to any more."""
        if self._page is None:
            self._page = buffer, view
        else:
            self.give(buffer)

    def take(self, size: int) -> bytearray:
        """A buffer of at least `size` bytes, with anything in it."""
        if size < MINIMUM:
            return bytearray(size)
        capacity = -(-size // MINIMUM) * MINIMUM
        free = self._free.get(capacity)
        if not free and self._lent:
            self._collect()
            free = self._free.get(capacity)
        if free:
            self._kept -= capacity
            return free.pop()
        return bytearray(capacity)

    def give(self, buffer: bytearray) -> None:
        """Give back a buffer that nobody refers to any more."""
        capacity = len(buffer)
        if not capacity or capacity % MINIMUM or self._kept + capacity > _KEEP_BYTES:
            return
        self._kept += capacity
        self._free.setdefault(capacity, []).append(buffer)

    def lend(self, buffer: bytearray) -> None:
        """Leave a buffer to whoever still refers to it: it is free when nobody does, which nobody needs to say."""
        capacity = len(buffer)
        if not capacity or capacity % MINIMUM:
            return
        self._lent.append(buffer)
        self._lent_bytes += capacity
        while self._lent_bytes > _KEEP_BYTES:
            self._lent_bytes -= len(self._lent.popleft())

    def _collect(self) -> None:
        """Take back what was lent and is not referred to by anything any more, through views of it or otherwise."""
        for _ in range(len(self._lent)):
            if _references(self._lent) == _UNUSED:
                buffer = self._lent.popleft()
                self._lent_bytes -= len(buffer)
                self.give(buffer)
            else:
                self._lent.rotate(-1)


def _references(buffers: deque[bytearray]) -> int:
    return getrefcount(buffers[0])


_UNUSED: Final = _references(deque((bytearray(),)))
"""What is counted of a buffer that is in the queue and nowhere else."""
