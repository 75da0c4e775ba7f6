"""Byte-range locks: a table of what conflicts, and random histories against a naive model."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lamina.ntfsa.locks.byte_range import (
    cancel_wait,
    lock,
    read_conflict,
    release_owner,
    take_back,
    unlock,
    write_conflict,
)
from lamina.ntfsa.record import EMPTY_RECORD, LOCK_GRANTED, FileRecord, LockRange, Message
from lamina.ntfsa.status import NtStatus

A, B, C = 1, 2, 3
SHARED, EXCLUSIVE = False, True
END = 1 << 64


def locked(*locks: tuple[int, int, int, bool]) -> FileRecord:
    record = EMPTY_RECORD
    for owner, offset, length, exclusive in locks:
        outcome = lock(record, owner, [LockRange(offset, length, exclusive)])
        assert outcome.result == NtStatus.SUCCESS
        record = outcome.record
    return record


@pytest.mark.parametrize(
    ("held", "wanted", "granted"),
    [
        ((A, 0, 10, SHARED), (B, 5, 1, SHARED), True),
        ((A, 0, 10, SHARED), (B, 5, 1, EXCLUSIVE), False),
        ((A, 0, 10, SHARED), (A, 5, 1, EXCLUSIVE), False),
        ((A, 0, 10, EXCLUSIVE), (B, 5, 1, SHARED), False),
        ((A, 0, 10, EXCLUSIVE), (A, 5, 1, SHARED), True),
        ((A, 0, 10, EXCLUSIVE), (A, 5, 1, EXCLUSIVE), False),
        ((A, 0, 10, EXCLUSIVE), (B, 10, 1, EXCLUSIVE), True),
        ((A, 10, 10, EXCLUSIVE), (B, 9, 1, EXCLUSIVE), True),
        ((A, 0, 10, EXCLUSIVE), (B, 5, 0, EXCLUSIVE), False),
        ((A, 0, 10, EXCLUSIVE), (B, 0, 0, EXCLUSIVE), True),
        ((A, 0, 10, EXCLUSIVE), (B, 10, 0, EXCLUSIVE), True),
        ((A, 5, 0, EXCLUSIVE), (B, 0, 10, SHARED), False),
        ((A, 5, 0, EXCLUSIVE), (B, 5, 0, EXCLUSIVE), True),
        ((A, 0, 0, EXCLUSIVE), (B, 0, END, EXCLUSIVE), True),
        ((A, END - 1, 1, EXCLUSIVE), (B, END - 1, 1, EXCLUSIVE), False),
    ],
)
def test_what_conflicts(held: tuple[int, int, int, bool], wanted: tuple[int, int, int, bool], granted: bool) -> None:
    owner, offset, length, exclusive = wanted
    outcome = lock(locked(held), owner, [LockRange(offset, length, exclusive)])
    assert outcome.result == (NtStatus.SUCCESS if granted else NtStatus.LOCK_NOT_GRANTED)


@pytest.mark.parametrize(
    ("exclusive", "owner", "may_read", "may_write"),
    [
        (SHARED, A, True, False),
        (SHARED, B, True, False),
        (EXCLUSIVE, A, True, True),
        (EXCLUSIVE, B, False, False),
    ],
)
def test_reading_and_writing_under_a_lock_of_a(exclusive: bool, owner: int, may_read: bool, may_write: bool) -> None:
    record = locked((A, 10, 10, exclusive))
    assert read_conflict(record, owner, 15, 1) is not may_read
    assert write_conflict(record, owner, 15, 1) is not may_write
    assert not read_conflict(record, owner, 20, 5)
    assert not write_conflict(record, owner, 0, 10)


@pytest.mark.parametrize(("offset", "length"), [(END - 1, 2), (1, END), (END, 1)])
def test_a_range_beyond_64_bits_is_refused(offset: int, length: int) -> None:
    assert lock(EMPTY_RECORD, A, [LockRange(offset, length, True)]).result == NtStatus.INVALID_LOCK_RANGE
    assert unlock(EMPTY_RECORD, A, offset, length).result == NtStatus.INVALID_LOCK_RANGE


def test_several_ranges_are_all_locked_or_none() -> None:
    record = locked((A, 10, 1, EXCLUSIVE))
    outcome = lock(record, B, [LockRange(0, 1, True), LockRange(10, 1, True)])
    assert outcome.result == NtStatus.LOCK_NOT_GRANTED
    assert outcome.record is record
    assert lock(record, B, [LockRange(0, 1, True), LockRange(0, 1, True)]).result == NtStatus.LOCK_NOT_GRANTED
    assert len(lock(record, B, [LockRange(0, 1, True), LockRange(0, 1, False)]).record.locks) == 3


def test_unlock_wants_the_exact_range_and_takes_the_exclusive_one_first() -> None:
    record = locked((A, 0, 10, EXCLUSIVE), (A, 0, 10, SHARED))
    assert unlock(record, A, 0, 9).result == NtStatus.RANGE_NOT_LOCKED
    assert unlock(record, B, 0, 10).result == NtStatus.RANGE_NOT_LOCKED
    record = unlock(record, A, 0, 10).record
    assert [held.exclusive for held in record.locks] == [False]
    record = unlock(record, A, 0, 10).record
    assert not record.locks
    assert unlock(record, A, 0, 10).result == NtStatus.RANGE_NOT_LOCKED


def test_what_was_granted_is_taken_back_and_nothing_else() -> None:
    record = locked((A, 0, 10, EXCLUSIVE), (A, 0, 10, SHARED))
    record = waits(record, B, LockRange(0, 10, False), 7)
    record, _, messages = take_back(record, A, [LockRange(0, 10, False)])
    assert [held.exclusive for held in record.locks] == [True]
    assert messages == ()
    assert take_back(record, A, [LockRange(0, 10, False)]).record is record
    assert take_back(record, A, [LockRange(0, 10, True)]).messages == (Message(B, LOCK_GRANTED, (7,)),)


def test_waiters_are_granted_in_the_order_they_came() -> None:
    record = locked((A, 0, 10, EXCLUSIVE))
    for owner, ticket in ((B, 7), (C, 8), (B, 9)):
        outcome = lock(record, owner, [LockRange(0, 10, True)], ticket)
        assert outcome.result == NtStatus.PENDING
        record = outcome.record
    record, _, messages = unlock(record, A, 0, 10)
    assert messages == (Message(B, LOCK_GRANTED, (7,)),)
    record, _, messages = release_owner(record, B)
    assert messages == (Message(C, LOCK_GRANTED, (8,)),)
    assert not record.waiters
    assert {held.owner for held in record.locks} == {C}


def test_one_unlock_grants_all_the_shared_waiters() -> None:
    record = locked((A, 0, 10, EXCLUSIVE))
    for owner in (B, C):
        record = lock(record, owner, [LockRange(0, 10, False)], owner).record
    assert [message.owner for message in unlock(record, A, 0, 10).messages] == [B, C]


def waits(record: FileRecord, owner: int, wanted: LockRange, ticket: int) -> FileRecord:
    outcome = lock(record, owner, [wanted], ticket)
    assert outcome.result == NtStatus.PENDING
    return outcome.record


def test_shared_locks_do_not_overtake_an_exclusive_one_that_waits() -> None:
    record = waits(locked((A, 0, 10, SHARED)), B, LockRange(0, 10, True), 7)
    record = waits(record, C, LockRange(5, 10, False), 8)
    record, _, messages = unlock(record, A, 0, 10)
    assert [message.detail for message in messages] == [(7,)]
    assert [message.detail for message in unlock(record, B, 0, 10).messages] == [(8,)]


def test_a_request_that_may_not_wait_looks_at_held_locks_only() -> None:
    record = waits(locked((A, 0, 10, SHARED)), B, LockRange(0, 10, True), 7)
    assert lock(record, C, [LockRange(0, 10, False)]).result == NtStatus.SUCCESS


def test_waiters_hold_up_only_what_conflicts_with_them() -> None:
    record = waits(locked((A, 0, 10, SHARED)), B, LockRange(0, 10, True), 7)
    assert lock(record, C, [LockRange(10, 10, True)], 8).result == NtStatus.SUCCESS
    shared = waits(locked((A, 0, 10, EXCLUSIVE)), B, LockRange(0, 20, False), 7)
    assert lock(shared, C, [LockRange(15, 5, False)], 8).result == NtStatus.SUCCESS


def test_whoever_is_waited_for_does_not_wait_in_turn() -> None:
    record = waits(locked((A, 0, 10, SHARED)), B, LockRange(0, 10, True), 7)
    assert lock(record, A, [LockRange(2, 3, False)], 8).result == NtStatus.SUCCESS


def test_a_waiter_that_gives_up_lets_those_behind_it_go_on() -> None:
    record = waits(locked((A, 0, 10, SHARED)), B, LockRange(0, 10, True), 7)
    record = waits(record, C, LockRange(0, 10, False), 8)
    assert cancel_wait(record, B, 7).messages == (Message(C, LOCK_GRANTED, (8,)),)
    assert release_owner(record, B).messages == (Message(C, LOCK_GRANTED, (8,)),)


def test_a_grant_sets_free_what_waited_behind_it_elsewhere() -> None:
    record = waits(locked((A, 0, 10, EXCLUSIVE)), B, LockRange(0, 20, True), 7)
    record = waits(record, C, LockRange(15, 5, True), 8)
    record = waits(record, B, LockRange(18, 1, False), 9)
    granted = [message.detail[0] for message in unlock(record, A, 0, 10).messages]
    assert granted == [7, 9]


def test_a_cancelled_waiter_gets_nothing() -> None:
    record = lock(locked((A, 0, 10, EXCLUSIVE)), B, [LockRange(0, 10, True)], 7).record
    outcome = cancel_wait(record, B, 7)
    assert outcome.result
    assert unlock(outcome.record, A, 0, 10).messages == ()
    assert not cancel_wait(outcome.record, B, 7).result


def test_the_number_of_locks_is_limited() -> None:
    outcome = lock(locked((A, 0, 1, SHARED)), A, [LockRange(0, 1, False)], max_locks=1)
    assert outcome.result == NtStatus.INSUFFICIENT_RESOURCES


def test_releasing_nothing_changes_nothing() -> None:
    record = locked((A, 0, 1, SHARED))
    assert release_owner(record, B).record is record


Held = tuple[int, int, int, bool]


def _clash(held: list[Held], owner: int, wanted: LockRange) -> bool:
    for other, offset, length, exclusive in held:
        apart = offset >= wanted.offset + wanted.length or wanted.offset >= offset + length
        tolerated = not wanted.exclusive and (not exclusive or other == owner)
        if not apart and not tolerated:
            return True
    return False


def _differ(one: LockRange, other: LockRange) -> bool:
    """Whether the two, of different owners, cannot both be held."""
    apart = one.offset >= other.offset + other.length or other.offset >= one.offset + one.length
    return not apart and (one.exclusive or other.exclusive)


class Locks(RuleBasedStateMachine):
    """Random locking by three owners; the model is a list, and asks every pair."""

    def __init__(self) -> None:
        super().__init__()
        self.record = EMPTY_RECORD
        self.held: list[Held] = []
        self.waiting: list[tuple[int, int, list[LockRange]]] = []
        self.tickets = 0

    owners = st.integers(1, 3)
    ranges = st.lists(st.builds(LockRange, st.integers(0, 6), st.integers(0, 3), st.booleans()), min_size=1, max_size=2)

    def _grant(self, owner: int, ranges: list[LockRange]) -> bool:
        taken = list(self.held)
        for wanted in ranges:
            if _clash(taken, owner, wanted):
                return False
            taken.append((owner, *wanted))
        self.held = taken
        return True

    def _held_up(self, owner: int, ranges: list[LockRange], before: list[tuple[int, int, list[LockRange]]]) -> bool:
        for other, _, theirs in before:
            for first in theirs:
                mine = [held for held in self.held if held[0] == owner]
                waits_for_me = any(_differ(LockRange(*held[1:]), first) for held in mine)
                if other != owner and not waits_for_me and any(_differ(first, wanted) for wanted in ranges):
                    return True
        return False

    def _settle(self, messages: tuple[Message, ...]) -> None:
        expected = []
        for waiter in list(self.waiting):
            before = self.waiting[: self.waiting.index(waiter)]
            if not self._held_up(waiter[0], waiter[2], before) and self._grant(waiter[0], waiter[2]):
                self.waiting.remove(waiter)
                expected.append((waiter[0], waiter[1]))
        assert [(message.owner, message.detail[0]) for message in messages] == expected

    @rule(owner=owners, ranges=ranges, waits=st.booleans())
    def lock(self, owner: int, ranges: list[LockRange], waits: bool) -> None:
        self.tickets += 1
        outcome = lock(self.record, owner, ranges, self.tickets if waits else None)
        self.record = outcome.record
        if not (waits and self._held_up(owner, ranges, self.waiting)) and self._grant(owner, ranges):
            assert outcome.result == NtStatus.SUCCESS
        elif waits:
            assert outcome.result == NtStatus.PENDING
            self.waiting.append((owner, self.tickets, ranges))
        else:
            assert outcome.result == NtStatus.LOCK_NOT_GRANTED

    @rule(owner=owners, offset=st.integers(0, 6), length=st.integers(0, 3))
    def unlock(self, owner: int, offset: int, length: int) -> None:
        outcome = unlock(self.record, owner, offset, length)
        self.record = outcome.record
        for exclusive in (True, False):
            if (owner, offset, length, exclusive) in self.held:
                self.held.remove((owner, offset, length, exclusive))
                assert outcome.result == NtStatus.SUCCESS
                self._settle(outcome.messages)
                return
        assert outcome.result == NtStatus.RANGE_NOT_LOCKED

    @rule(owner=owners)
    def release(self, owner: int) -> None:
        outcome = release_owner(self.record, owner)
        self.record = outcome.record
        changed = any(held[0] == owner for held in self.held) or any(w[0] == owner for w in self.waiting)
        self.held = [held for held in self.held if held[0] != owner]
        self.waiting = [waiter for waiter in self.waiting if waiter[0] != owner]
        if changed:
            self._settle(outcome.messages)

    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        if self.waiting:
            waiter = data.draw(st.sampled_from(self.waiting))
            outcome = cancel_wait(self.record, waiter[0], waiter[1])
            self.record = outcome.record
            assert outcome.result
            self.waiting.remove(waiter)
            self._settle(outcome.messages)

    @invariant()
    def same_state(self) -> None:
        locks = [(x.owner, x.offset, x.end - x.offset, x.exclusive) for x in self.record.locks]
        assert sorted(locks) == sorted(self.held)
        assert [(w.owner, w.ticket) for w in self.record.waiters] == [(w[0], w[1]) for w in self.waiting]


TestLocks = Locks.TestCase
TestLocks.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
