"""How caching rights end: breaks within breaks, answers, time, and the holder's close.

MS-FSA 2.1.5.18.3 and 2.1.5.19; MS-SMB2 3.3.4.7, 3.3.5.22.1, 3.3.5.22.2, 3.3.6.1 and 3.3.6.5.
"""

import pytest

from lamina.ntfsa.grants.breaking import (
    BREAK_ENDED,
    Break,
    acknowledge_lease,
    acknowledge_oplock,
    break_and_wait,
    break_now,
    break_one,
    end_overdue,
    others_cache,
    stop_waiting,
)
from lamina.ntfsa.grants.caching import (
    CHANGE_DATA,
    CHANGE_ENTRY,
    CHANGE_NAME,
    LEASE_STATES,
    OPEN,
    OPLOCK_LEVEL_LEASE,
    OVERWRITE,
    READ_CACHING,
    SHARING_CONFLICT,
    STATE_OF_LEVEL,
    Operation,
)
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.opening.sharing import close_file
from lamina.ntfsa.record import STABLE, FileRecord, Message
from lamina.ntfsa.record_form import from_plain, to_plain
from lamina.ntfsa.status import NtStatus as S
from tests.support.granted import (
    FIRST,
    KEY,
    LATE,
    LOOK,
    NOW,
    OTHER_KEY,
    RH,
    RW,
    RWH,
    SECOND,
    THIRD,
    WRITE,
    R,
    breaking,
    held,
    leased,
    rights,
    states,
    told,
    with_lease,
    with_open,
    with_oplock,
)

WAITER, OTHER_WAITER = 77, 78


def broken(record: FileRecord, *operations: Operation, waiter: int = WAITER, now: float = NOW) -> FileRecord:
    """The record after somebody has done all this, waiting each time."""
    for operation in operations:
        record = break_and_wait(record, Break(operation, SECOND, b"", waiter, now)).record
    return record


# -- the answers to the break of an oplock (3.3.5.22.1) ---------------------------------------------------------------

# The acknowledged level, whether none was offered; the answer, and what is left.
ANSWERS = [
    (II, 0, S.SUCCESS, II),
    (NONE, 0, S.SUCCESS, NONE),
    (II, WRITE, S.SUCCESS, NONE),
    (NONE, WRITE, S.SUCCESS, NONE),
    (EXCLUSIVE, 0, S.INVALID_OPLOCK_PROTOCOL, NONE),
    (BATCH, 0, S.INVALID_OPLOCK_PROTOCOL, NONE),
    (5, 0, S.INVALID_OPLOCK_PROTOCOL, NONE),
    (OPLOCK_LEVEL_LEASE, 0, S.INVALID_PARAMETER, NONE),
]


@pytest.mark.parametrize("held_level", [EXCLUSIVE, BATCH])
@pytest.mark.parametrize(("level", "implied", "status", "left"), ANSWERS)
def test_answers_to_the_break_of_an_oplock(held_level: int, level: int, implied: int, status: S, left: int) -> None:
    outcome = acknowledge_oplock(breaking(held_level, implied), FIRST, level, NOW)
    assert outcome.result == (status, STATE_OF_LEVEL[left])
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)
    assert states(outcome.record.grants) == ([READ_CACHING] if left else [])
    again = S.INVALID_DEVICE_STATE if left else S.INVALID_OPLOCK_PROTOCOL
    assert acknowledge_oplock(outcome.record, FIRST, NONE, NOW).result.status is again


@pytest.mark.parametrize("level", [II, EXCLUSIVE, BATCH])
def test_an_oplock_that_does_not_break_is_not_answered(level: int) -> None:
    record = held(level)
    outcome = acknowledge_oplock(record, FIRST, NONE, NOW)
    assert outcome.result.status is S.INVALID_DEVICE_STATE
    assert outcome.record is record


def test_a_lease_is_not_answered_as_an_oplock() -> None:
    record = broken(leased(RWH), OPEN)
    outcome = acknowledge_oplock(record, FIRST, NONE, NOW)
    assert outcome.result.status is S.INVALID_OPLOCK_PROTOCOL
    assert outcome.record is record


def test_an_oplock_offered_level_two_may_have_to_lose_that_too() -> None:
    """BREAK_TO_TWO_TO_NONE of MS-FSA 2.1.5.19: told of level II, then of none, which needs no answer."""
    record = broken(held(BATCH), OPEN)
    joined = break_and_wait(record, Break(OVERWRITE, THIRD, b"", OTHER_WAITER, NOW + 1))
    assert joined.result == LATE
    assert not joined.messages
    outcome = acknowledge_oplock(joined.record, FIRST, II, NOW + 2)
    assert outcome.result == (S.SUCCESS, R)
    ended = tuple(Message(waiter, BREAK_ENDED) for waiter in (WAITER, OTHER_WAITER))
    assert outcome.messages == (told(R, 0, epoch=1, deadline=0.0), *ended)
    assert not outcome.record.grants


# -- the answers to the break of a lease (3.3.5.22.2) -----------------------------------------------------------------


@pytest.mark.parametrize(("held_state", "operation"), [(RWH, OPEN), (RWH, SHARING_CONFLICT), (RWH, OVERWRITE)])
@pytest.mark.parametrize("kept", range(8), ids=rights)
def test_a_client_keeps_no_more_than_it_was_offered(held_state: int, operation: Operation, kept: int) -> None:
    record = broken(leased(held_state), operation)
    offered = record.grants[0].breaking_to
    outcome = acknowledge_lease(record, KEY, kept, NOW)
    if kept & ~offered:
        assert outcome.result == (S.REQUEST_NOT_ACCEPTED, held_state)
        assert outcome.record is record
        return
    left = kept if kept in LEASE_STATES else 0
    assert outcome.result == (S.SUCCESS, left)
    assert outcome.messages == (Message(WAITER, BREAK_ENDED),)
    assert outcome.record.grants[0]._replace(owners=(), address=0) == (
        ((), 0, left, KEY, record.grants[0].epoch, STABLE, 0, 0.0, ())
    )


@pytest.mark.parametrize("state", [R, RH, RW, RWH, 0], ids=rights)
def test_a_lease_that_does_not_break_is_not_answered(state: int) -> None:
    record = leased(state)
    outcome = acknowledge_lease(record, KEY, 0, NOW)
    assert outcome.result == (S.UNSUCCESSFUL, state)
    assert outcome.record is record


def test_an_unknown_lease_is_not_answered() -> None:
    record = broken(leased(RWH), OPEN)
    assert acknowledge_lease(record, OTHER_KEY, 0, NOW).result == (S.OBJECT_NAME_NOT_FOUND, 0)
    assert acknowledge_lease(broken(held(BATCH), OPEN), KEY, 0, NOW).result.status is S.OBJECT_NAME_NOT_FOUND


def test_reading_is_lost_without_an_answer() -> None:
    outcome = break_and_wait(leased(R), Break(OVERWRITE, SECOND, b"", WAITER, NOW))
    assert outcome.result is None
    assert outcome.messages == (told(R, 0, epoch=2),)
    assert acknowledge_lease(outcome.record, KEY, 0, NOW).result.status is S.UNSUCCESSFUL


# -- break while breaking ---------------------------------------------------------------------------------------------

# A lease, what is done to it in turn, and what the client is told after each of its obedient answers: the rights it
# has, those it is to keep, and whether an answer is awaited. What Windows does (smb2.lease.breaking3 to breaking6).
STEPS = [
    (RWH, (OPEN, OVERWRITE), [(RWH, RH, True), (RH, R, True), (R, 0, False)]),
    (RWH, (OPEN, CHANGE_NAME), [(RWH, RH, True), (RH, R, True)]),
    (RWH, (SHARING_CONFLICT, OPEN), [(RWH, RW, True), (RW, R, True)]),
    (RWH, (SHARING_CONFLICT, OVERWRITE), [(RWH, RW, True), (RW, R, True), (R, 0, False)]),
    (RWH, (OVERWRITE, OPEN), [(RWH, 0, True)]),
    (RWH, (OPEN, OPEN), [(RWH, RH, True)]),
    (RW, (OPEN, OVERWRITE), [(RW, R, True), (R, 0, False)]),
    (RW, (OPEN, SHARING_CONFLICT), [(RW, R, True)]),
    (RH, (SHARING_CONFLICT, CHANGE_DATA), [(RH, R, True), (R, 0, False)]),
    (RH, (CHANGE_DATA, SHARING_CONFLICT), [(RH, 0, True)]),
    (R, (OVERWRITE, OPEN), [(R, 0, False)]),
]


@pytest.mark.parametrize(("state", "operations", "expected"), STEPS)
def test_a_widened_break_goes_on_in_steps(
    state: int, operations: tuple[Operation, ...], expected: list[tuple[int, int, bool]]
) -> None:
    record, messages, now = leased(state), [], NOW
    for operation in operations:
        outcome = break_and_wait(record, Break(operation, SECOND, b"", WAITER, now))
        record = outcome.record
        messages += outcome.messages
    while record.grants[0].breaking_to != STABLE:
        now += 10
        outcome = acknowledge_lease(record, KEY, record.grants[0].breaking_to, now)
        record = outcome.record
        messages += outcome.messages
    notices = [message.detail for message in messages if message.owner == 101]
    assert [(held_, to, deadline > 0) for held_, to, _, deadline in notices] == expected
    assert record.grants[0].state == expected[-1][1]


def test_who_waits_is_told_when_the_last_step_is_done() -> None:
    record = broken(leased(RWH), OPEN, OVERWRITE)
    first = acknowledge_lease(record, KEY, RH, NOW + 10)
    assert first.messages == (told(RH, R, epoch=2, deadline=LATE + 10),)
    assert first.record.grants[0].waiters == (WAITER,)
    second = acknowledge_lease(first.record, KEY, R, NOW + 20)
    assert second.messages == (told(R, 0, epoch=2), Message(WAITER, BREAK_ENDED))


def test_a_client_that_gives_up_more_has_fewer_steps() -> None:
    outcome = acknowledge_lease(broken(leased(RWH), OPEN, OVERWRITE), KEY, 0, NOW)
    assert outcome.messages == (Message(WAITER, BREAK_ENDED),)
    assert states(outcome.record.grants) == [0]


def test_who_does_not_wait_for_a_break_widens_it_all_the_same() -> None:
    record = broken(leased(RH), SHARING_CONFLICT)
    outcome = break_now(record, CHANGE_DATA, THIRD, b"", NOW)
    assert not outcome.messages
    assert outcome.record.grants[0].required == 0
    assert outcome.record.grants[0].waiters == (WAITER,)


def test_a_widened_break_has_the_time_of_the_first() -> None:
    outcome = break_and_wait(broken(leased(RWH), OPEN), Break(OVERWRITE, THIRD, b"", OTHER_WAITER, NOW + 20))
    assert outcome.result == LATE
    assert outcome.record.grants[0].deadline == LATE


def test_several_holders_break_each_on_its_own() -> None:
    record = with_lease(with_open(leased(RH), SECOND), SECOND, RH, OTHER_KEY)
    outcome = break_and_wait(record, Break(SHARING_CONFLICT, THIRD, b"", WAITER, NOW))
    assert [message.owner for message in outcome.messages] == [101, 102]
    first = acknowledge_lease(outcome.record, KEY, R, NOW)
    assert first.messages == (Message(WAITER, BREAK_ENDED),)
    # It asks again, and waits for the other one.
    again = break_and_wait(first.record, Break(SHARING_CONFLICT, THIRD, b"", WAITER, NOW + 1))
    assert again.result == LATE
    assert not again.messages
    assert acknowledge_lease(again.record, OTHER_KEY, R, NOW).messages == (Message(WAITER, BREAK_ENDED),)


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [breaking(EXCLUSIVE), broken(leased(RW), OPEN)], ids=["oplock", "lease"])
def test_time_ends_what_is_overdue_and_nothing_else(record: FileRecord) -> None:
    assert end_overdue(record, LATE - 1).record is record
    outcome = end_overdue(record, LATE)
    assert [grant.state for grant in outcome.record.grants if not grant.lease] == []
    assert [(grant.state, grant.breaking_to) for grant in outcome.record.grants if grant.lease] in ([], [(0, STABLE)])
    assert [message.kind for message in outcome.messages] == [BREAK_ENDED]


def test_a_lease_out_of_time_is_still_there_and_may_grow_again() -> None:
    record = end_overdue(broken(leased(RW), OPEN), LATE).record
    assert acknowledge_lease(record, KEY, R, LATE).result == (S.UNSUCCESSFUL, 0)
    with_lease(with_open(record, SECOND), SECOND, RW)


def test_an_oplock_out_of_time_is_gone() -> None:
    record = end_overdue(breaking(BATCH), LATE).record
    assert acknowledge_oplock(record, FIRST, NONE, LATE).result.status is S.INVALID_OPLOCK_PROTOCOL


def test_what_does_not_break_has_all_the_time() -> None:
    for record in (held(BATCH), leased(RWH)):
        assert end_overdue(record, LATE * 10).record is record


def test_each_step_has_a_time_of_its_own() -> None:
    record = acknowledge_lease(broken(leased(RWH), OPEN, OVERWRITE), KEY, RH, NOW + 30).record
    assert end_overdue(record, LATE).record is record
    assert states(end_overdue(record, LATE + 30).record.grants) == [0]


# -- who waits, who closes --------------------------------------------------------------------------------------------


def test_who_stops_waiting_is_not_told() -> None:
    outcome = stop_waiting(breaking(BATCH), SECOND)
    assert outcome.record.grants[0].breaking_to == READ_CACHING
    assert not acknowledge_oplock(outcome.record, FIRST, NONE, NOW).messages
    assert stop_waiting(outcome.record, SECOND).record is outcome.record


def test_waiters_are_in_order_whoever_comes_and_goes() -> None:
    record = held(BATCH)
    for waiter in (50, 70, 60, 50, 80):
        record = broken(record, OPEN, waiter=waiter)
    assert record.grants[0].waiters == (50, 60, 70, 80)
    for waiter, left in ((60, (50, 70, 80)), (55, (50, 70, 80)), (80, (50, 70)), (90, (50, 70)), (50, (70,))):
        record = stop_waiting(record, waiter).record
        assert record.grants[0].waiters == left


@pytest.mark.parametrize("others", [(), (THIRD,)])
def test_the_close_of_the_holder_ends_the_break(others: tuple[int, ...]) -> None:
    record = breaking(BATCH)
    for owner in others:
        record = with_open(record, owner, LOOK)
    outcome = close_file(record, FIRST)
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)
    assert not outcome.record.grants


def test_a_lease_breaks_until_the_last_of_its_opens_closes() -> None:
    record = with_lease(with_open(leased(RWH), THIRD), THIRD, RWH)
    record = broken(record, OPEN)
    outcome = close_file(record, FIRST)
    assert not outcome.messages
    assert outcome.record.grants[0].owners == (THIRD,)
    assert outcome.record.grants[0].breaking_to == RH
    assert close_file(outcome.record, THIRD).messages == (Message(WAITER, BREAK_ENDED),)


def test_changing_data_ends_reading_for_all() -> None:
    record = with_oplock(with_open(held(II), SECOND), SECOND, II)
    record = with_lease(with_open(record, THIRD), THIRD, R)
    outcome = break_now(record, CHANGE_DATA, FIRST, b"", NOW)
    assert states(outcome.record.grants) == [0]
    assert outcome.messages == tuple(told(R, 0, owner=owner, epoch=1 + (owner == THIRD)) for owner in (1, 2, 3))


@pytest.mark.parametrize("level", [EXCLUSIVE, BATCH])
def test_who_may_cache_writes_may_write(level: int) -> None:
    record = held(level)
    assert break_now(record, CHANGE_DATA, FIRST, b"", NOW).record is record


# Whose grant, whether the operator is its holder, whether a change of data has anything to break.
@pytest.mark.parametrize(
    ("record", "owner", "lease", "expected"),
    [
        (with_open(held(II), SECOND), FIRST, b"", True),
        (with_open(held(II), SECOND), SECOND, b"", True),
        (held(BATCH), FIRST, b"", False),
        (held(BATCH), SECOND, b"", True),
        (leased(RWH), FIRST, KEY, False),
        (leased(R), SECOND, OTHER_KEY, True),
        (leased(R), SECOND, b"", True),
        (leased(0), SECOND, b"", False),
    ],
)
def test_whether_others_cache(record: FileRecord, owner: int, lease: bytes, expected: bool) -> None:
    assert others_cache(record.grants, owner, lease) is expected
    broke = break_now(record, CHANGE_DATA, owner, lease, NOW)
    assert bool(broke.messages) is expected


@pytest.mark.parametrize("record", [breaking(BATCH), broken(leased(RWH), OPEN, OVERWRITE)], ids=["oplock", "lease"])
def test_grants_have_a_plain_form(record: FileRecord) -> None:
    assert from_plain(to_plain(record)) == record


# -- one lease of many ------------------------------------------------------------------------------------------------


def test_one_lease_may_be_broken_alone() -> None:
    record = with_lease(with_open(leased(RH), SECOND), SECOND, RH, OTHER_KEY)
    outcome = break_one(record, OTHER_KEY, CHANGE_ENTRY, NOW)
    assert outcome.messages == (told(RH, 0, epoch=2, deadline=LATE, owner=SECOND),)
    assert [grant.breaking_to for grant in outcome.record.grants] == [STABLE, 0]
    assert break_one(outcome.record, OTHER_KEY, CHANGE_ENTRY, NOW).messages == ()


@pytest.mark.parametrize("record", [leased(0), held(II)], ids=["nothing", "oplock"])
def test_a_lease_of_nothing_is_not_broken(record: FileRecord) -> None:
    assert break_one(record, KEY, CHANGE_ENTRY, NOW) == (record, None, ())
