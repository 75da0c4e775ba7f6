"""The byte-range locks of one stream as an immutable value, cheap to change and to ask with very many locks.

Locks stand sorted by offset in chunks; adding or removing one copies its chunk and the short list of chunks, not all
the locks. Of each chunk it is known how far its locks reach and whose the exclusive ones are, so that a question looks
into one or two of them, however many locks overlap the range. What a conflict is belongs to `byte_range`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

_CHUNK = 256
_NOBODY: Final = 0
_SEVERAL: Final = -1
_OWNER_BITS: Final = 1021
_SPARSE: Final = 8


class Lock(NamedTuple):
    """One byte-range lock (MS-FSA 2.1.1.7 Per ByteRangeLock). Sorted by offset first; `end` is offset + length."""

    offset: int
    end: int
    owner: int
    exclusive: bool


_Chunk = tuple[Lock, ...]


class _Summary(NamedTuple):
    """Of one chunk: where its last shared and its last exclusive lock end (0: none), whose the exclusive ones are.

    `owners` has a bit for each owner of a lock (`_bit`), which may be another's too or of one that is there no more.
    """

    shared_end: int
    exclusive_end: int
    owner: int
    owners: int


_NOTHING: Final = _Summary(0, 0, _NOBODY, 0)


class LockTable:
    """An immutable sorted collection of locks; false when there are none. Owners are numbers above 0."""

    __slots__ = ("_chunks", "_count", "_longest", "_summaries")

    def __init__(
        self, chunks: tuple[_Chunk, ...], summaries: tuple[_Summary, ...], count: int, longest: tuple[int, int]
    ) -> None:
        """For this module only: use `NO_LOCKS` and `make`. `longest`: lengths that no shared, no exclusive one exceeds.

        They are -1 where there was none, and stay when a lock is removed.
        """
        self._chunks = chunks
        self._summaries = summaries
        self._count = count
        self._longest = longest

    @staticmethod
    def make(locks: Iterable[Lock]) -> "LockTable":
        """A table of `locks`, which may come in any order."""
        ordered = sorted(locks)
        chunks = tuple(tuple(ordered[i : i + _CHUNK]) for i in range(0, len(ordered), _CHUNK))
        longest = _longest(lock for lock in ordered if not lock.exclusive), _longest(x for x in ordered if x.exclusive)
        return LockTable(chunks, tuple(map(_summary, chunks)), len(ordered), longest)

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

    # Questions. Ranges are [start, end). They overlap unless one ends where or before the other begins, so that a
    # range of no length lies between two bytes and overlaps what has both (MS-FSA 2.1.4.10).

    def has_shared(self, start: int, end: int) -> bool:
        """Whether a shared lock overlaps the range."""
        if self._longest[0] < 0:
            return False
        chunks, summaries, first = self._chunks, self._summaries, start - self._longest[0]
        for index in range(self._first_chunk(first), len(chunks)):
            chunk = chunks[index]
            if chunk[0][0] >= end:
                return False
            # The one that reaches furthest begins within the chunk.
            if summaries[index][0] > start and (
                chunk[-1][0] < end or any(not lock.exclusive for lock in _within(chunk, first, start, end))
            ):
                return True
        return False

    def has_exclusive(self, start: int, end: int, beside: int = _NOBODY) -> bool:
        """Whether an exclusive lock overlaps the range that is not `beside`'s."""
        if self._longest[1] < 0:
            return False
        chunks, summaries, first = self._chunks, self._summaries, start - self._longest[1]
        for index in range(self._first_chunk(first), len(chunks)):
            chunk = chunks[index]
            if chunk[0][0] >= end:
                return False
            _, exclusive_end, owner, _ = summaries[index]
            if exclusive_end > start and owner != beside:
                for lock in _within(chunk, first, start, end):
                    if lock[3] and lock[2] != beside:
                        return True
        return False

    def overlapping(self, start: int, end: int) -> Iterator[Lock]:
        """All the locks that overlap the range."""
        first = start - max(self._longest)
        for index in range(self._first_chunk(first), len(self._chunks)):
            chunk = self._chunks[index]
            if chunk[0].offset >= end:
                return
            shared_end, exclusive_end, _, _ = self._summaries[index]
            if shared_end > start or exclusive_end > start:
                yield from _within(chunk, first, start, end)

    def _first_chunk(self, offset: int) -> int:
        # The last chunk that may begin before a lock at `offset`.
        return max(bisect_left(self._chunks, ((offset,),)) - 1, 0)

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

    # Changes.

    def added(self, lock: Lock) -> "LockTable":
        """The table with `lock` in it too."""
        length, (shared, exclusive) = lock.end - lock.offset, self._longest
        longest = (shared, max(exclusive, length)) if lock.exclusive else (max(shared, length), exclusive)
        if not self._chunks:
            return LockTable(((lock,),), (_and(_NOTHING, lock),), 1, longest)
        index = max(bisect_left(self._chunks, (lock,)) - 1, 0)
        chunk = self._chunks[index]
        position = bisect_left(chunk, lock)
        chunk = (*chunk[:position], lock, *chunk[position:])
        if len(chunk) <= _CHUNK:
            return self._with(index, ((chunk, _and(self._summaries[index], lock)),), 1, longest)
        # What comes in order leaves full chunks behind.
        half = _CHUNK if position == _CHUNK else len(chunk) // 2
        parts = chunk[:half], chunk[half:]
        return self._with(index, [(part, _summary(part)) for part in parts], 1, longest)

    def removed(self, lock: Lock) -> "LockTable":
        """The table without one lock equal to `lock`, which must be in it."""
        index, position = self._find(lock)
        if self._count == 1:
            return NO_LOCKS
        chunk = self._chunks[index]
        rest = (*chunk[:position], *chunk[position + 1 :])
        before = self._summaries[index]
        same = lock.end < before.exclusive_end if lock.exclusive else lock.end < before.shared_end
        # Of several owners one may have been left alone.
        unchanged = same and (not lock.exclusive or before.owner != _SEVERAL)
        summary = before if unchanged else _summary(rest, before.owners)
        return self._with(index, ((rest, summary),) if rest else (), -1, self._longest)

    def without_owner(self, owner: int) -> "LockTable":
        """The table without all the locks of `owner`; itself if there are none."""
        bit, count = _bit(owner), 0
        parts: list[tuple[_Chunk, _Summary]] = []
        for chunk, summary in zip(self._chunks, self._summaries, strict=True):
            kept = chunk
            if summary.owners & bit:
                kept = tuple(lock for lock in chunk if lock.owner != owner)
            if kept:
                parts.append((kept, summary if len(kept) == len(chunk) else _summary(kept)))
                count += len(kept)
        return self if count == self._count else self._of(parts, count, self._longest)

    def _with(
        self, index: int, parts: Sequence[tuple[_Chunk, _Summary]], growth: int, longest: tuple[int, int]
    ) -> "LockTable":
        chunks = (*self._chunks[:index], *[chunk for chunk, _ in parts], *self._chunks[index + 1 :])
        summaries = (*self._summaries[:index], *[summary for _, summary in parts], *self._summaries[index + 1 :])
        return LockTable(chunks, summaries, self._count + growth, longest)._gathered()

    @staticmethod
    def _of(parts: Sequence[tuple[_Chunk, _Summary]], count: int, longest: tuple[int, int]) -> "LockTable":
        if not count:
            return NO_LOCKS
        chunks = tuple(chunk for chunk, _ in parts)
        return LockTable(chunks, tuple(summary for _, summary in parts), count, longest)._gathered()

    def _gathered(self) -> "LockTable":
        # Many chunks of a few locks each are what removing leaves behind.
        return self if len(self._chunks) * _CHUNK <= _SPARSE * (self._count + _CHUNK) else LockTable.make(self)


def _within(chunk: _Chunk, first: int, start: int, end: int) -> Iterator[Lock]:
    for position in range(bisect_left(chunk, (first,)), len(chunk)):
        lock = chunk[position]
        if lock[0] >= end:
            return
        if lock[1] > start:
            yield lock


def _bit(owner: int) -> int:
    return 1 << owner % _OWNER_BITS


def _and(summary: _Summary, lock: Lock) -> _Summary:
    shared_end, exclusive_end, owner, owners = summary
    owners |= _bit(lock.owner)
    if not lock.exclusive:
        return _Summary(max(shared_end, lock.end), exclusive_end, owner, owners)
    owner = lock.owner if owner in {_NOBODY, lock.owner} else _SEVERAL
    return _Summary(shared_end, max(exclusive_end, lock.end), owner, owners)


def _summary(chunk: _Chunk, owners: int = 0) -> _Summary:
    # Each in a step of its own, which is five times as quick as `_and` for one lock after the other.
    for owner in () if owners else {lock[2] for lock in chunk}:
        owners |= _bit(owner)
    exclusive = {lock[2] for lock in chunk if lock[3]}
    return _Summary(
        max([lock[1] for lock in chunk if not lock[3]], default=0),
        max([lock[1] for lock in chunk if lock[3]], default=0),
        _SEVERAL if len(exclusive) > 1 else next(iter(exclusive), _NOBODY),
        owners,
    )


def _longest(locks: Iterable[Lock]) -> int:
    return max((lock.end - lock.offset for lock in locks), default=-1)


NO_LOCKS = LockTable((), (), 0, (-1, -1))
"""The table without locks."""
