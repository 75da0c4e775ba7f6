"""The rules of caching grants, as tables and against random histories."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamina.ntfsa import constants as c
from lamina.ntfsa.admission import Opening, admit
from lamina.ntfsa.caching import (
    ANY_CACHING,
    BREAK_ENDED,
    BREAK_SECONDS,
    GRANT_BROKEN,
    READ_CACHING,
    STABLE,
    WRITE_CACHING,
    acknowledge,
    break_reading,
    end_overdue,
    request_grant,
    stop_waiting,
)
from lamina.ntfsa.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.lock_table import Lock, LockTable
from lamina.ntfsa.record import EMPTY_RECORD, FileRecord, Message
from lamina.ntfsa.record_form import from_plain, to_plain
from lamina.ntfsa.sharing import close_file, open_file
from lamina.ntfsa.status import NtStatus as S

ALL = c.FILE_SHARE_ALL
READ = c.FILE_READ_DATA
WRITE = c.FILE_WRITE_DATA
LOOK = c.FILE_READ_ATTRIBUTES | c.FILE_WRITE_ATTRIBUTES | c.SYNCHRONIZE
NOW = 1000.0
FIRST, SECOND, THIRD = 1, 2, 3
ADDRESS = 100


def held(level: int, access: int = READ | WRITE, share: int = ALL) -> FileRecord:
    """A file that is open once, with an oplock."""
    record = open_file(EMPTY_RECORD, FIRST, access, share).record
    outcome = request_grant(record, FIRST, ADDRESS + FIRST, level)
    assert outcome.result == level
    return outcome.record


def opening(owner: int = SECOND, access: int = READ, share: int = ALL, implied: int = 0) -> Opening:
    return Opening(owner, access, share, 0, implied)


@pytest.mark.parametrize(
    ("asked", "others", "granted"),
    [
        (BATCH, [], BATCH),
        (EXCLUSIVE, [], EXCLUSIVE),
        (II, [], II),
        (NONE, [], NONE),
        (LEASE, [], NONE),
        (2, [], NONE),
        (BATCH, [LOOK], BATCH),
        (BATCH, [LOOK, READ], II),
        (EXCLUSIVE, [READ], II),
        (EXCLUSIVE, [c.READ_CONTROL], II),
        (II, [READ | WRITE], II),
    ],
)
def test_what_is_granted_beside_others(asked: int, others: list[int], granted: int) -> None:
    record = EMPTY_RECORD
    for owner, access in enumerate(others):
        record = open_file(record, 10 + owner, access, ALL).record
    record = open_file(record, 50, READ, ALL).record
    assert request_grant(record, 50, ADDRESS, asked).result == granted


@pytest.mark.parametrize(("first", "second"), [(II, II), (EXCLUSIVE, NONE), (BATCH, NONE)])
def test_what_is_granted_beside_grants(first: int, second: int) -> None:
    record = held(first, LOOK)
    record = open_file(record, SECOND, LOOK, ALL, 0, True).record
    for asked in (II, EXCLUSIVE, BATCH):
        assert request_grant(record, SECOND, ADDRESS, asked).result == second


def test_locks_are_in_the_way_of_level_two() -> None:
    record = open_file(EMPTY_RECORD, FIRST, READ, ALL).record
    record = record._replace(locks=LockTable.make([Lock(0, 1, FIRST, True)]))
    assert request_grant(record, FIRST, ADDRESS, II).result == NONE


def test_nothing_is_granted_to_who_is_not_there() -> None:
    assert request_grant(EMPTY_RECORD, FIRST, ADDRESS, BATCH).result == NONE


# What a second open comes to: the holder's level and sharing, the newcomer's access and what overwriting implies;
# the status, and the level that the holder is broken to (None: it is not).
OPENINGS = [
    (II, ALL, READ, 0, S.SUCCESS, None),
    (II, ALL, WRITE, 0, S.SUCCESS, None),
    (II, ALL, READ, WRITE, S.SUCCESS, NONE),
    (II, ALL, LOOK, WRITE, S.SUCCESS, NONE),
    (II, 0, READ, 0, S.SHARING_VIOLATION, None),
    (II, 0, READ, WRITE, S.SHARING_VIOLATION, None),
    (EXCLUSIVE, ALL, READ, 0, S.PENDING, II),
    (EXCLUSIVE, ALL, c.READ_CONTROL, 0, S.PENDING, II),
    (EXCLUSIVE, ALL, LOOK, 0, S.SUCCESS, None),
    (EXCLUSIVE, 0, LOOK, 0, S.SUCCESS, None),
    (EXCLUSIVE, ALL, READ, WRITE, S.PENDING, NONE),
    (EXCLUSIVE, ALL, LOOK, WRITE, S.PENDING, NONE),
    (EXCLUSIVE, 0, READ, 0, S.SHARING_VIOLATION, None),
    (BATCH, ALL, READ, 0, S.PENDING, II),
    (BATCH, ALL, LOOK, 0, S.SUCCESS, None),
    (BATCH, ALL, READ, WRITE, S.PENDING, NONE),
    (BATCH, 0, READ, 0, S.PENDING, II),
    (BATCH, 0, LOOK, 0, S.SUCCESS, None),
]


@pytest.mark.parametrize(("level", "share", "access", "implied", "status", "broken_to"), OPENINGS)
def test_a_second_open(level: int, share: int, access: int, implied: int, status: S, broken_to: int | None) -> None:
    outcome = admit(held(level, share=share), opening(access=access, implied=implied), NOW)
    assert outcome.result.status is status
    waits = status is S.PENDING
    told = [Message(ADDRESS + FIRST, GRANT_BROKEN, (broken_to, waits))] if broken_to is not None else []
    assert list(outcome.messages) == told
    if waits:
        assert outcome.result.deadline == NOW + BREAK_SECONDS
        assert outcome.record.grants[0].waiters == (SECOND,)
    assert (outcome.record.find_open(SECOND) is not None) is (status is S.SUCCESS)


@pytest.mark.parametrize("level", [II, EXCLUSIVE, BATCH])
def test_only_the_rule_that_breaks_lets_in_beside_grants(level: int) -> None:
    record = held(level)
    assert open_file(record, SECOND, READ, ALL).result is S.OPLOCK_BREAK_IN_PROGRESS
    assert admit(record._replace(delete_pending=True), opening(), NOW).result.status is S.DELETE_PENDING


def breaking(level: int, implied: int = 0) -> FileRecord:
    """A record in which SECOND waits for FIRST."""
    return admit(held(level), opening(implied=implied), NOW).record


# The acknowledged level, what was offered; the answer, and what is left.
ANSWERS = [
    (II, 0, S.SUCCESS, II),
    (NONE, 0, S.SUCCESS, NONE),
    (II, WRITE, S.SUCCESS, NONE),
    (NONE, WRITE, S.SUCCESS, NONE),
    (EXCLUSIVE, 0, S.INVALID_OPLOCK_PROTOCOL, NONE),
    (BATCH, 0, S.INVALID_OPLOCK_PROTOCOL, NONE),
    (5, 0, S.INVALID_OPLOCK_PROTOCOL, NONE),
    (LEASE, 0, S.INVALID_PARAMETER, NONE),
]


@pytest.mark.parametrize("held_level", [EXCLUSIVE, BATCH])
@pytest.mark.parametrize(("level", "implied", "status", "left"), ANSWERS)
def test_answers(held_level: int, level: int, implied: int, status: S, left: int) -> None:
    outcome = acknowledge(breaking(held_level, implied), FIRST, level)
    assert outcome.result == (status, left)
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)
    assert [grant.state for grant in outcome.record.grants] == ([READ_CACHING] if left else [])
    again = S.INVALID_DEVICE_STATE if left else S.INVALID_OPLOCK_PROTOCOL
    assert acknowledge(outcome.record, FIRST, NONE).result.status is again


@pytest.mark.parametrize("level", [II, EXCLUSIVE, BATCH])
def test_what_does_not_break_is_not_answered(level: int) -> None:
    record = held(level)
    outcome = acknowledge(record, FIRST, NONE)
    assert outcome.result.status is S.INVALID_DEVICE_STATE
    assert outcome.record is record


def test_a_third_open_joins_the_break() -> None:
    outcome = admit(breaking(BATCH), opening(THIRD), NOW + 5)
    assert outcome.result == (S.PENDING, NOW + BREAK_SECONDS)
    assert not outcome.messages
    ended = acknowledge(outcome.record, FIRST, II)
    assert ended.messages == (Message(SECOND, BREAK_ENDED), Message(THIRD, BREAK_ENDED))


def test_a_batch_oplock_that_breaks_still_waits_before_sharing() -> None:
    outcome = admit(admit(held(BATCH, share=0), opening(), NOW).record, opening(THIRD), NOW + 1)
    assert outcome.result.status is S.PENDING


def test_an_answer_that_does_not_come_is_not_waited_for_twice() -> None:
    late = NOW + BREAK_SECONDS
    outcome = admit(breaking(EXCLUSIVE), opening(THIRD), late)
    assert outcome.result.status is S.SUCCESS
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)
    assert not outcome.record.grants


def test_time_ends_what_is_overdue_and_nothing_else() -> None:
    record = breaking(EXCLUSIVE)
    assert end_overdue(record, NOW + BREAK_SECONDS - 1).record is record
    outcome = end_overdue(record, NOW + BREAK_SECONDS)
    assert not outcome.record.grants
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)


def test_who_stops_waiting_is_not_told() -> None:
    outcome = stop_waiting(breaking(BATCH), SECOND)
    assert outcome.record.grants[0].breaking_to == READ_CACHING
    assert not acknowledge(outcome.record, FIRST, NONE).messages
    assert stop_waiting(outcome.record, SECOND).record is outcome.record


@pytest.mark.parametrize("others", [(), (THIRD,)])
def test_the_close_of_the_holder_ends_the_break(others: tuple[int, ...]) -> None:
    record = breaking(BATCH)
    for owner in others:
        record = open_file(record, owner, LOOK, ALL, 0, True).record
    outcome = close_file(record, FIRST)
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)
    assert not outcome.record.grants


def test_changing_data_ends_reading_for_all() -> None:
    record = held(II)
    record = admit(record, opening(), NOW).record
    record = request_grant(record, SECOND, ADDRESS + SECOND, II).record
    outcome = break_reading(record)
    assert not outcome.record.grants
    assert outcome.messages == tuple(Message(ADDRESS + owner, GRANT_BROKEN, (NONE, False)) for owner in (FIRST, SECOND))


@pytest.mark.parametrize("level", [EXCLUSIVE, BATCH])
def test_who_may_cache_writes_may_write(level: int) -> None:
    record = held(level)
    assert break_reading(record).record is record


def test_grants_have_a_plain_form() -> None:
    record = breaking(BATCH)
    assert from_plain(to_plain(record)) == record


class Histories(RuleBasedStateMachine):
    """Opens, closes, answers and the passing of time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.record = EMPTY_RECORD
        self.now = NOW
        self.owners = 0
        self.waiting: dict[int, Opening] = {}

    def take(self, outcome) -> object:
        self.record = outcome.record
        for message in outcome.messages:
            if message.kind == BREAK_ENDED:
                self.retry(message.owner)
        return outcome.result

    def retry(self, owner: int) -> None:
        wanted = self.waiting.pop(owner, None)
        if wanted is not None:
            self.enter(wanted, NONE)

    def enter(self, wanted: Opening, level: int) -> None:
        result = self.take(admit(self.record, wanted, self.now))
        if result.status is S.PENDING:
            self.waiting[wanted.owner] = wanted
        elif result.status is S.SUCCESS and level:
            self.take(request_grant(self.record, wanted.owner, ADDRESS + wanted.owner, level))

    @rule(
        access=st.sampled_from([READ, WRITE, LOOK, c.DELETE, READ | WRITE]),
        share=st.sampled_from([0, ALL, c.FILE_SHARE_READ]),
        implied=st.sampled_from([0, WRITE]),
        level=st.sampled_from([NONE, II, EXCLUSIVE, BATCH]),
    )
    def open(self, access: int, share: int, implied: int, level: int) -> None:
        self.owners += 1
        self.enter(Opening(self.owners, access, share, 0, implied), level)

    @precondition(lambda self: self.record.opens)
    @rule(data=st.data())
    def close(self, data) -> None:
        owner = data.draw(st.sampled_from([entry.owner for entry in self.record.opens]))
        self.take(close_file(self.record, owner))

    @precondition(lambda self: self.record.grants)
    @rule(data=st.data(), level=st.sampled_from([NONE, II, BATCH]))
    def answer(self, data, level: int) -> None:
        owner = data.draw(st.sampled_from([grant.owner for grant in self.record.grants]))
        self.take(acknowledge(self.record, owner, level))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        owner = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[owner]
        self.take(stop_waiting(self.record, owner))

    @rule(seconds=st.sampled_from([1.0, BREAK_SECONDS]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.take(end_overdue(self.record, self.now))

    @rule()
    def write(self) -> None:
        if not any(grant.state & WRITE_CACHING for grant in self.record.grants):
            self.take(break_reading(self.record))
            assert not self.record.grants

    @invariant()
    def who_caches_writes_caches_alone(self) -> None:
        writers = [grant for grant in self.record.grants if grant.state & WRITE_CACHING]
        assert not writers or len(self.record.grants) == 1
        for grant in writers:
            others = [e for e in self.record.opens if e.owner != grant.owner and e.granted_access & ~LOOK]
            assert not others

    @invariant()
    def grants_belong_to_opens(self) -> None:
        assert all(self.record.find_open(grant.owner) is not None for grant in self.record.grants)
        assert all(grant.state & ANY_CACHING for grant in self.record.grants)

    @invariant()
    def whoever_waits_waits_for_a_break(self) -> None:
        expected = {waiter for g in self.record.grants if g.breaking_to != STABLE for waiter in g.waiters}
        assert set(self.waiting) == expected


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
