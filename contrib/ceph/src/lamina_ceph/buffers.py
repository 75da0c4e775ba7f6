"""Memory that the library reads into and writes from, which nobody else uses until the call has ended.

The caller's own memory would not do: a call that is given up goes on, and the caller uses his memory for something
else by then. Copying costs little beside the call, and memory that is used again costs no page faults.
"""

import ctypes
from typing import Final

_SMALLEST: Final = 4096
_LARGEST_KEPT: Final = 8 * 1024 * 1024


class Buffer:
    """So many bytes; `address` for the library, `view` for everybody else."""

    __slots__ = ("_memory", "address", "size", "view")

    def __init__(self, size: int) -> None:
        self.size = size
        self._memory = (ctypes.c_char * size)()
        self.address = ctypes.addressof(self._memory)
        self.view = memoryview(self._memory).cast("B")


class Buffers:
    """Buffers that were used before, by their size. Used on the event loop's thread."""

    def __init__(self, most: int) -> None:
        """`most`: how many of a size are kept."""
        self._most = most
        self._free: dict[int, list[Buffer]] = {}

    def take(self, length: int) -> Buffer:
        """One of `length` bytes or more; whoever has given up its call does not give it back."""
        size = max(_SMALLEST, 1 << (length - 1).bit_length()) if length else _SMALLEST
        free = self._free.get(size)
        return free.pop() if free else Buffer(size)

    def give(self, buffer: Buffer) -> None:
        """Nobody uses it any more."""
        free = self._free.setdefault(buffer.size, [])
        if buffer.size <= _LARGEST_KEPT and len(free) < self._most:
            free.append(buffer)
