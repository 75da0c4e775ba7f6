"""The byte-range locks of one stream as an immutable value, cheap to change with very many locks.

Locks stand sorted by offset in chunks; adding or removing one copies its chunk and the short list of chunks, not all
the locks. Each chunk knows the greatest end in it, and the table the greatest length it has seen, so that what
overlaps a range is found by bisection. What a conflict is belongs to `byte_range`; here are only ranges.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_CHUNK = 256


class Lock(NamedTuple):
    """One byte-range lock (MS-FSA 2.1.1.7 Per ByteRangeLock). Sorted by offset first; `end` is offset + length."""

    offset: int
    end: int
    owner: int
    exclusive: bool


_Chunk = tuple[Lock, ...]


class LockTable:
    """An immutable sorted collection of locks; false when there are none."""

    __slots__ = ("_chunks", "_count", "_max_ends", "_max_length")

    def __init__(self, chunks: tuple[_Chunk, ...], max_ends: tuple[int, ...], count: int, max_length: int) -> None:
        """For this module only: use `NO_LOCKS` and `make`."""
        self._chunks = chunks
        self._max_ends = max_ends
        self._count = count
        self._max_length = max_length

    @staticmethod
    def make(locks: Iterable[Lock]) -> "LockTable":
        """A table of `locks`, which may come in any order."""
        ordered = sorted(locks)
        chunks = tuple(tuple(ordered[i : i + _CHUNK]) for i in range(0, len(ordered), _CHUNK))
        longest = max((lock.end - lock.offset for lock in ordered), default=0)
        return LockTable(chunks, tuple(map(_max_end, chunks)), len(ordered), longest)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Lock]:
        for chunk in self._chunks:
            yield from chunk

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LockTable) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"LockTable({list(self)!r})"

    def overlapping(self, start: int, end: int) -> Iterator[Lock]:
        """The locks that overlap [start, end); a range of no length lies between two bytes and overlaps what has both.

        That is the rule of MS-FSA 2.1.4.10: the ranges overlap unless one ends where or before the other begins.
        """
        first = start - self._max_length
        chunks = self._chunks
        for index in range(max(bisect_left(chunks, ((first,),)) - 1, 0), len(chunks)):
            chunk = chunks[index]
            if chunk[0].offset >= end:
                return
            if self._max_ends[index] > start:
                for position in range(bisect_left(chunk, (first,)), len(chunk)):
                    lock = chunk[position]
                    if lock.offset >= end:
                        return
                    if lock.end > start:
                        yield lock

    def added(self, lock: Lock) -> "LockTable":
        """The table with `lock` in it too."""
        longest = max(self._max_length, lock.end - lock.offset)
        if not self._chunks:
            return LockTable(((lock,),), (lock.end,), 1, longest)
        index = max(bisect_left(self._chunks, (lock,)) - 1, 0)
        chunk = self._chunks[index]
        position = bisect_left(chunk, lock)
        chunk = (*chunk[:position], lock, *chunk[position:])
        half = len(chunk) // 2
        parts = (chunk,) if len(chunk) <= _CHUNK else (chunk[:half], chunk[half:])
        return self._with(index, parts, self._count + 1, longest)

    def removed(self, lock: Lock) -> "LockTable":
        """The table without one lock equal to `lock`, which must be in it."""
        index, position = self._find(lock)
        chunk = self._chunks[index]
        rest = (*chunk[:position], *chunk[position + 1 :])
        if self._count == 1:
            return NO_LOCKS
        return self._with(index, (rest,) if rest else (), self._count - 1, self._max_length)

    def without_owner(self, owner: int) -> "LockTable":
        """The table without all the locks of `owner`; itself if there are none."""
        kept = [lock for lock in self if lock.owner != owner]
        if len(kept) == self._count:
            return self
        return LockTable.make(kept) if kept else NO_LOCKS

    def __contains__(self, lock: object) -> bool:
        try:
            self._find(lock)  # type: ignore[arg-type] # anything may be asked for; what is no lock is not found
        except (KeyError, TypeError):
            return False
        return True

    def _find(self, lock: Lock) -> tuple[int, int]:
        index = bisect_left(self._chunks, (lock,))
        # Equal locks may stand at the end of the chunk before, or begin this one.
        for candidate in (index - 1, index):
            if 0 <= candidate < len(self._chunks):
                chunk = self._chunks[candidate]
                position = bisect_left(chunk, lock)
                if position < len(chunk) and chunk[position] == lock:
                    return candidate, position
        raise KeyError(lock)

    def _with(self, index: int, parts: tuple[_Chunk, ...], count: int, longest: int) -> "LockTable":
        chunks = (*self._chunks[:index], *parts, *self._chunks[index + 1 :])
        ends = (*self._max_ends[:index], *map(_max_end, parts), *self._max_ends[index + 1 :])
        return LockTable(chunks, ends, count, longest)


def _max_end(chunk: _Chunk) -> int:
    return max(lock.end for lock in chunk)


NO_LOCKS = LockTable((), (), 0, 0)
"""The table without locks."""
