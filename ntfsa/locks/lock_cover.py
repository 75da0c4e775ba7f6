"""What an open's byte-range locks come to for others, where each byte is either locked or not.

SMB keeps every lock of an open by itself, also several on the same bytes; POSIX knows one state for each byte. So when
one of the locks goes, what the others still cover stays locked.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from lamina.ntfsa.locks.lock_table import Lock, LockTable
from lamina.vfs_modules.outside import RangeLock

Piece = tuple[int, int, RangeLock]
"""Offset and length in bytes, and how they are locked."""


def cover(table: LockTable, owner: int, start: int, end: int) -> list[Piece]:
    """How `owner` has each part of the range locked, in order and without gaps; the strongest lock of each byte."""
    exclusive = table.has_exclusive(start, end)
    own: list[Lock] = []
    for lock in table.overlapping(start, end):
        if lock.owner != owner:
            continue
        if lock.offset <= start and lock.end >= end and (lock.exclusive or not exclusive):
            return [(start, end - start, RangeLock.EXCLUSIVE if lock.exclusive else RangeLock.SHARED)]
        own.append(lock)
    return list(_joined(_pieces(own, start, end)))


def _pieces(locks: Iterable[Lock], start: int, end: int) -> Iterator[Piece]:
    # From one bound of a lock to the next: how many are held there of each kind.
    changes: dict[int, list[int]] = {start: [0, 0], end: [0, 0]}
    for lock in locks:
        changes.setdefault(max(lock.offset, start), [0, 0])[lock.exclusive] += 1
        changes.setdefault(min(lock.end, end), [0, 0])[lock.exclusive] -= 1
    bounds = sorted(changes)
    shared = exclusive = 0
    for here, following in pairwise(bounds):
        shared += changes[here][0]
        exclusive += changes[here][1]
        kind = RangeLock.EXCLUSIVE if exclusive else RangeLock.SHARED if shared else RangeLock.NONE
        yield here, following - here, kind


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    last: Piece | None = None
    for piece in pieces:
        if last is not None and last[2] is piece[2]:
            last = last[0], last[1] + piece[1], last[2]
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last
