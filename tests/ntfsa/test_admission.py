"""How an open passes beside oplocks and leases (MS-FSA 2.1.5.1.2 Open of an Existing File)."""

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.admission import admit
from lamina.ntfsa.breaking import BREAK_ENDED, acknowledge_oplock
from lamina.ntfsa.caching import BREAK_SECONDS, STATE_OF_LEVEL
from lamina.ntfsa.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.record import Message
from lamina.ntfsa.sharing import open_file
from lamina.ntfsa.status import NtStatus as S
from tests.support.granted import (
    ALL,
    FIRST,
    LATE,
    LOOK,
    NOW,
    READ,
    SECOND,
    THIRD,
    WRITE,
    breaking,
    held,
    opening,
    told,
)

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
def test_an_open_beside_an_oplock(
    level: int, share: int, access: int, implied: int, status: S, broken_to: int | None
) -> None:
    outcome = admit(held(level, share=share), opening(access=access, implied=implied), NOW)
    assert outcome.result.status is status
    waits = status is S.PENDING
    if broken_to is None:
        assert not outcome.messages
    else:
        deadline = LATE if waits else 0.0
        assert outcome.messages == (told(STATE_OF_LEVEL[level], STATE_OF_LEVEL[broken_to], deadline=deadline, epoch=1),)
    if waits:
        assert outcome.result.deadline == LATE
        assert outcome.record.grants[0].waiters == (SECOND,)
    assert (outcome.record.find_open(SECOND) is not None) is (status is S.SUCCESS)


@pytest.mark.parametrize("level", [II, EXCLUSIVE, BATCH])
def test_only_the_rule_that_breaks_lets_in_beside_grants(level: int) -> None:
    record = held(level)
    assert open_file(record, SECOND, READ, ALL).result is S.OPLOCK_BREAK_IN_PROGRESS
    assert admit(record._replace(delete_pending=True), opening(), NOW).result.status is S.DELETE_PENDING


def test_a_third_open_joins_the_break() -> None:
    outcome = admit(breaking(BATCH), opening(THIRD), NOW + 5)
    assert outcome.result == (S.PENDING, NOW + BREAK_SECONDS)
    assert not outcome.messages
    ended = acknowledge_oplock(outcome.record, FIRST, II, NOW)
    assert ended.messages == (Message(SECOND, BREAK_ENDED), Message(THIRD, BREAK_ENDED))


def test_a_batch_oplock_that_breaks_still_waits_before_sharing() -> None:
    outcome = admit(admit(held(BATCH, share=0), opening(), NOW).record, opening(THIRD), NOW + 1)
    assert outcome.result.status is S.PENDING


def test_an_answer_that_does_not_come_is_not_waited_for_twice() -> None:
    outcome = admit(breaking(EXCLUSIVE), opening(THIRD), LATE)
    assert outcome.result.status is S.SUCCESS
    assert outcome.messages == (Message(SECOND, BREAK_ENDED),)
    assert not outcome.record.grants
