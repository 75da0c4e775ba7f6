"""How caching rights end: answers, time, and the holder's close (MS-FSA 2.1.5.19, MS-SMB2 3.3.5.22)."""

import pytest

from lamina.ntfsa.admission import admit
from lamina.ntfsa.breaking import (
    BREAK_ENDED,
    acknowledge_oplock,
    break_now,
    end_overdue,
    stop_waiting,
)
from lamina.ntfsa.caching import CHANGE_DATA, READ_CACHING, STATE_OF_LEVEL
from lamina.ntfsa.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.record import Message
from lamina.ntfsa.record_form import from_plain, to_plain
from lamina.ntfsa.sharing import close_file
from lamina.ntfsa.status import NtStatus as S
from tests.support.granted import (
    FIRST,
    LATE,
    LOOK,
    NOW,
    SECOND,
    THIRD,
    WRITE,
    breaking,
    held,
    opening,
    states,
    told,
    with_open,
    with_oplock,
)

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


def test_time_ends_what_is_overdue_and_nothing_else() -> None:
    record = breaking(EXCLUSIVE)
    assert end_overdue(record, LATE - 1).record is record
    outcome = end_overdue(record, LATE)
    assert not outcome.record.grants
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)


def test_who_stops_waiting_is_not_told() -> None:
    outcome = stop_waiting(breaking(BATCH), SECOND)
    assert outcome.record.grants[0].breaking_to == READ_CACHING
    assert not acknowledge_oplock(outcome.record, FIRST, NONE, NOW).messages
    assert stop_waiting(outcome.record, SECOND).record is outcome.record


@pytest.mark.parametrize("others", [(), (THIRD,)])
def test_the_close_of_the_holder_ends_the_break(others: tuple[int, ...]) -> None:
    record = breaking(BATCH)
    for owner in others:
        record = with_open(record, owner, LOOK)
    outcome = close_file(record, FIRST)
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)
    assert not outcome.record.grants


def test_changing_data_ends_reading_for_all() -> None:
    record = admit(held(II), opening(), NOW).record
    record = with_oplock(record, SECOND, II)
    outcome = break_now(record, CHANGE_DATA, FIRST, b"", NOW)
    assert not outcome.record.grants
    assert outcome.messages == tuple(told(READ_CACHING, 0, owner=owner, epoch=1) for owner in (FIRST, SECOND))


@pytest.mark.parametrize("level", [EXCLUSIVE, BATCH])
def test_who_may_cache_writes_may_write(level: int) -> None:
    record = held(level)
    assert break_now(record, CHANGE_DATA, FIRST, b"", NOW).record is record


def test_grants_have_a_plain_form() -> None:
    record = breaking(BATCH)
    assert from_plain(to_plain(record)) == record
