"""Large buffers kept for reuse: a fresh megabyte costs more in page faults than it does to fill.

Small buffers are not kept: the allocator is as fast.
"""

MINIMUM = 64 * 1024
"""Buffers below this size are not pooled."""

_KEEP_BYTES = 64 * 1024 * 1024


class BufferPool:
    """Free buffers by capacity (multiples of MINIMUM), at most `_KEEP_BYTES` in total."""

    __slots__ = ("_free", "_kept")

    def __init__(self) -> None:
        self._free: dict[int, list[bytearray]] = {}
        self._kept = 0

    def take(self, size: int) -> bytearray:
        """A buffer of at least `size` bytes, with anything in it."""
        if size < MINIMUM:
            return bytearray(size)
        capacity = -(-size // MINIMUM) * MINIMUM
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
