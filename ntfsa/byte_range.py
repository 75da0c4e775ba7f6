"""The rules of byte-range locks (MS-FSA 2.1.5.8 lock, 2.1.5.9 unlock, 2.1.4.10 conflicts).

A lock that cannot be had now may wait in the record. Whoever lets go of a lock grants, in the same step, every
waiting request that has become possible, in the order they came, and a message tells each owner. So nobody polls,
nobody is woken in vain, and two waiters cannot both believe that it is their turn.
"""

from collections.abc import Sequence
from typing import Final

from lamina.ntfsa.lock_table import Lock, LockTable
from lamina.ntfsa.record import LOCK_GRANTED, FileRecord, LockRange, Message, Outcome, Waiter
from lamina.ntfsa.status import NtStatus

MAX_LOCKS: Final = 1_000_000
"""Locks that one stream may hold: what a client could otherwise turn into memory."""

_RANGE_END: Final = 1 << 64


def range_is_valid(offset: int, length: int) -> bool:
    """Whether the range ends within 64 bits (MS-FSA 2.1.5.8: INVALID_LOCK_RANGE otherwise)."""
    return length == 0 or offset + length <= _RANGE_END


def _lock_conflict(table: LockTable, owner: int, wanted: LockRange) -> bool:
    # Shared locks suffer one another; an owner's shared lock may stand on its own exclusive one, but never the reverse.
    exclusive = wanted.exclusive
    for lock in table.overlapping(wanted.offset, wanted.offset + wanted.length):
        if exclusive or (lock.exclusive and lock.owner != owner):
            return True
    return False


def read_conflict(record: FileRecord, owner: int, offset: int, length: int) -> bool:
    """Whether reading the range through the open `owner` is FILE_LOCK_CONFLICT: another's exclusive lock is there."""
    held = record.locks.overlapping(offset, offset + length)
    return any(lock.exclusive and lock.owner != owner for lock in held)


def write_conflict(record: FileRecord, owner: int, offset: int, length: int) -> bool:
    """Whether writing the range through the open `owner` is FILE_LOCK_CONFLICT.

    Another's lock of any kind is in the way, and so is a shared lock of the writer's own.
    """
    held = record.locks.overlapping(offset, offset + length)
    return any(not lock.exclusive or lock.owner != owner for lock in held)


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
            record, messages = grant_waiters(record, held)
            return Outcome(record, NtStatus.SUCCESS, messages)
    return Outcome(record, NtStatus.RANGE_NOT_LOCKED)


def cancel_wait(record: FileRecord, owner: int, ticket: int) -> Outcome[bool]:
    """Stop waiting; False if no such request waits, which means that it was granted before (or never was).

    Whoever gets False and no longer wants the locks unlocks them.
    """
    waiters = tuple(w for w in record.waiters if w.owner != owner or w.ticket != ticket)
    if len(waiters) == len(record.waiters):
        return Outcome(record, False)
    return Outcome(record._replace(waiters=waiters, version=record.version + 1), True)


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


def grant_waiters(record: FileRecord, released: Lock | None = None) -> tuple[FileRecord, tuple[Message, ...]]:
    """Grant what waits and has become possible, first come first served; the record and the messages to send.

    With `released`, the one lock that was let go of, only waiters that it was in the way of are tried.
    """
    if not record.waiters:
        return record, ()
    locks = record.locks
    still_waiting: list[Waiter] = []
    messages: list[Message] = []
    for waiter in record.waiters:
        hopeless = released is not None and not _concerns(released, waiter)
        table = None if hopeless else _try_all(locks, waiter.owner, waiter.ranges)
        if table is None:
            still_waiting.append(waiter)
        else:
            locks = table
            messages.append(Message(waiter.owner, LOCK_GRANTED, (waiter.ticket,)))
    if not messages:
        return record, ()
    return record._replace(locks=locks, waiters=tuple(still_waiting)), tuple(messages)


def _concerns(released: Lock, waiter: Waiter) -> bool:
    return any(offset < released.end and offset + length > released.offset for offset, length, _ in waiter.ranges)
