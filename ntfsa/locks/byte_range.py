"""The rules of byte-range locks (MS-FSA 2.1.5.8 lock, 2.1.5.9 unlock, 2.1.4.10 conflicts).

A lock that cannot be had now may wait in the record. Whoever lets go of a lock grants, in the same step, every
waiting request that has become possible, in the order they came, and a message tells each owner. So nobody polls,
nobody is woken in vain, and two waiters cannot both believe that it is their turn.

Nobody overtakes: a request that could have its range but conflicts with one that has waited longer waits behind it,
or an exclusive lock could be kept waiting for ever by shared ones that come and go. What does not conflict is never
held up, nor is an owner by its own requests, or by those that wait for its own locks. Requests that may not wait look
at held locks only, as MS-FSA has it.
"""

from collections.abc import Sequence
from typing import Final

from lamina.ntfsa.locks.lock_table import NO_LOCKS, Lock, LockTable
from lamina.ntfsa.record import LOCK_GRANTED, FileRecord, LockRange, Message, Outcome, Waiter
from lamina.ntfsa.status import NtStatus

MAX_LOCKS: Final = 1_000_000
"""Locks that one stream may hold: what a client could otherwise turn into memory."""

_RANGE_END: Final = 1 << 64
_LOOKED_AT: Final = 1000


def range_is_valid(offset: int, length: int) -> bool:
    """Whether the range ends within 64 bits (MS-FSA 2.1.5.8: INVALID_LOCK_RANGE otherwise)."""
    return length == 0 or offset + length <= _RANGE_END


def read_conflict(record: FileRecord, owner: int, offset: int, length: int) -> bool:
    """Whether reading the range through the open `owner` is FILE_LOCK_CONFLICT: another's exclusive lock is there."""
    return record.locks.has_exclusive(offset, offset + length, owner)


def write_conflict(record: FileRecord, owner: int, offset: int, length: int) -> bool:
    """Whether writing the range through the open `owner` is FILE_LOCK_CONFLICT.

    Another's lock of any kind is in the way, and so is a shared lock of the writer's own.
    """
    end = offset + length
    return record.locks.has_exclusive(offset, end, owner) or record.locks.has_shared(offset, end)


def _lock_conflict(table: LockTable, owner: int, wanted: LockRange) -> bool:
    # Shared locks suffer one another; an owner's shared lock may stand on its own exclusive one, but never the reverse.
    offset, length, exclusive = wanted
    if exclusive:
        return table.has_exclusive(offset, offset + length) or table.has_shared(offset, offset + length)
    return table.has_exclusive(offset, offset + length, owner)


def _try_all(table: LockTable, owner: int, ranges: Sequence[LockRange]) -> LockTable | None:
    # All or none: each range is tested against those before it too (MS-SMB2 3.3.5.14.2).
    for wanted in ranges:
        if table and _lock_conflict(table, owner, wanted):
            return None
        table = table.added(Lock(wanted.offset, wanted.offset + wanted.length, owner, wanted.exclusive))
    return table


def lock(
    record: FileRecord,
    owner: int,
    ranges: Sequence[LockRange],
    ticket: int | None = None,
    max_locks: int = MAX_LOCKS,
) -> Outcome[NtStatus]:
    """Take all the locks of `ranges` or none.

    SUCCESS; LOCK_NOT_GRANTED; with a `ticket` (a number of the asker's own for this request) instead PENDING, and a
    message LOCK_GRANTED with that ticket comes when it is held. INVALID_LOCK_RANGE; INSUFFICIENT_RESOURCES.
    """
    if not all(range_is_valid(offset, length) for offset, length, _ in ranges):
        return Outcome(record, NtStatus.INVALID_LOCK_RANGE)
    if len(record.locks) + len(record.waiters) + len(ranges) > max_locks:
        return Outcome(record, NtStatus.INSUFFICIENT_RESOURCES)
    table = _try_all(record.locks, owner, ranges)
    if table is not None and ticket is not None and record.waiters:
        queue = _Queue(record.locks)
        for waiter in record.waiters:
            queue.add(waiter)
        table = None if queue.holds_up(owner, ranges) else table
    if table is not None:
        return Outcome(record._replace(locks=table, version=record.version + 1), NtStatus.SUCCESS)
    if ticket is None:
        return Outcome(record, NtStatus.LOCK_NOT_GRANTED)
    waiters = (*record.waiters, Waiter(owner, ticket, tuple(ranges)))
    return Outcome(record._replace(waiters=waiters, version=record.version + 1), NtStatus.PENDING)


def unlock(record: FileRecord, owner: int, offset: int, length: int) -> Outcome[NtStatus]:
    """Let go of one lock of exactly this range: the exclusive one if there are both (MS-FSA 2.1.5.9).

    SUCCESS; RANGE_NOT_LOCKED; INVALID_LOCK_RANGE.
    """
    if not range_is_valid(offset, length):
        return Outcome(record, NtStatus.INVALID_LOCK_RANGE)
    for exclusive in (True, False):
        held = Lock(offset, offset + length, owner, exclusive)
        if held in record.locks:
            record = record._replace(locks=record.locks.removed(held), version=record.version + 1)
            record, messages = grant_waiters(record, held.offset, held.end)
            return Outcome(record, NtStatus.SUCCESS, messages)
    return Outcome(record, NtStatus.RANGE_NOT_LOCKED)


def take_back(record: FileRecord, owner: int, ranges: Sequence[LockRange]) -> Outcome[None]:
    """Let go of what `lock` has granted: exactly these, whatever else the owner has locked there."""
    locks = record.locks
    for offset, length, exclusive in ranges:
        held = Lock(offset, offset + length, owner, exclusive)
        if held in locks:
            locks = locks.removed(held)
    if locks is record.locks:
        return Outcome(record, None)
    record, messages = grant_waiters(record._replace(locks=locks, version=record.version + 1), *_hull(ranges))
    return Outcome(record, None, messages)


def cancel_wait(record: FileRecord, owner: int, ticket: int) -> Outcome[bool]:
    """Stop waiting; False if no such request waits, which means that it was granted before (or never was).

    Whoever gets False and no longer wants the locks takes them back. Those that waited behind it may be granted.
    """
    gone = next((w for w in record.waiters if w.ticket == ticket and w.owner == owner), None)
    if gone is None:
        return Outcome(record, False)
    waiters = tuple(waiter for waiter in record.waiters if waiter is not gone)
    record, messages = grant_waiters(record._replace(waiters=waiters, version=record.version + 1), *_hull(gone.ranges))
    return Outcome(record, True, messages)


def release_owner(record: FileRecord, owner: int) -> Outcome[None]:
    """Let go of all the locks of an open and of what it waits for; its other state stays."""
    released = without_owner(record, owner)
    if released is record:
        return Outcome(record, None)
    record, messages = grant_waiters(released)
    return Outcome(record, None, messages)


def without_owner(record: FileRecord, owner: int) -> FileRecord:
    """The record without the locks and waiters of `owner`, nobody being granted anything yet."""
    locks = record.locks.without_owner(owner) if record.locks else record.locks
    waiters = tuple(waiter for waiter in record.waiters if waiter.owner != owner) if record.waiters else ()
    if locks is record.locks and len(waiters) == len(record.waiters):
        return record
    return record._replace(locks=locks, waiters=waiters, version=record.version + 1)


class _Queue:
    """Requests that wait, for those that came later. Sorted only when somebody asks, which is seldom."""

    def __init__(self, held: LockTable) -> None:
        self.held = held
        self._table = NO_LOCKS
        self._new: list[Waiter] = []

    def add(self, waiter: Waiter) -> None:
        """The next in the queue."""
        self._new.append(waiter)

    def holds_up(self, owner: int, ranges: Sequence[LockRange]) -> bool:
        """Whether a request of `owner`, whose ranges are free, must wait behind one of these."""
        new = [
            Lock(offset, offset + length, each.owner, ex) for each in self._new for offset, length, ex in each.ranges
        ]
        self._new = []
        if len(new) > len(self._table):
            self._table = LockTable.make((*self._table, *new))
        else:
            for lock in new:
                self._table = self._table.added(lock)
        return bool(self._table) and any(self._is_in_front(owner, wanted) for wanted in ranges)

    def _is_in_front(self, owner: int, wanted: LockRange) -> bool:
        offset, length, exclusive = wanted
        if not exclusive and not self._table.has_exclusive(offset, offset + length):
            return False
        for first in self._table.overlapping(offset, offset + length):
            if (exclusive or first.exclusive) and first.owner != owner and not self._is_kept_by(owner, first):
                return True
        return False

    def _is_kept_by(self, owner: int, first: Lock) -> bool:
        # A request of whoever the first one waits for cannot wait for it in turn. Among very many locks it is let pass.
        in_the_way = self.held.overlapping(first.offset, first.end)
        for count, lock in enumerate(in_the_way):
            if (lock.owner == owner and (first.exclusive or lock.exclusive)) or count == _LOOKED_AT:
                return True
        return False


def _hull(ranges: Sequence[LockRange]) -> tuple[int, int]:
    return min(offset for offset, _, _ in ranges), max(offset + length for offset, length, _ in ranges)


def grant_waiters(record: FileRecord, start: int = 0, end: int = _RANGE_END) -> tuple[FileRecord, tuple[Message, ...]]:
    """Grant what waits and has become possible, first come first served; the record and the messages to send.

    From `start` to `end` something has been let go of: only who waits for a part of it is tried.
    """
    concerned = [
        ticket
        for _, ticket, ranges in record.waiters
        for offset, length, _ in ranges
        if offset < end and offset + length > start
    ]
    return _grant_in_turn(record, start, end) if concerned else (record, ())


def _grant_in_turn(record: FileRecord, start: int, end: int) -> tuple[FileRecord, tuple[Message, ...]]:
    queue = _Queue(record.locks)
    still_waiting: list[Waiter] = []
    messages: list[Message] = []
    for waiter in record.waiters:
        owner, ticket, ranges = waiter
        concerned = any(offset < end and offset + length > start for offset, length, _ in ranges)
        table = _try_all(queue.held, owner, ranges) if concerned else None
        if table is None or queue.holds_up(owner, ranges):
            still_waiting.append(waiter)
            queue.add(waiter)
            continue
        queue.held = table
        messages.append(Message(owner, LOCK_GRANTED, (ticket,)))
        # Nobody waits behind this one any more.
        first, last = _hull(ranges)
        start, end = min(start, first), max(end, last)
    if not messages:
        return record, ()
    return record._replace(locks=queue.held, waiters=tuple(still_waiting)), tuple(messages)
