"""How an open passes beside oplocks and leases (MS-FSA 2.1.5.1.2 Open of an Existing File)."""

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants.admission import admit
from lamina.ntfsa.grants.breaking import BREAK_ENDED, acknowledge_lease, acknowledge_oplock
from lamina.ntfsa.grants.caching import BREAK_SECONDS, STATE_OF_LEVEL
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.record import Message
from lamina.ntfsa.status import NtStatus as S
from tests.support.granted import (
    ALL,
    FIRST,
    KEY,
    LATE,
    LOOK,
    NOW,
    OTHER_KEY,
    READ,
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
    opening,
    told,
    with_lease,
    with_open,
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


# The same beside a lease: its rights and the holder's sharing, the newcomer's access and what overwriting implies;
# the status, and what is left of the lease (None: it is not broken).
OPENINGS_BESIDE_LEASES = [
    (R, ALL, READ, 0, S.SUCCESS, None),
    (R, ALL, READ, WRITE, S.SUCCESS, 0),
    (R, 0, READ, 0, S.SHARING_VIOLATION, None),
    (R, 0, READ, WRITE, S.SHARING_VIOLATION, None),
    (RH, ALL, READ | WRITE, 0, S.SUCCESS, None),
    (RH, ALL, READ, WRITE, S.SUCCESS, 0),
    (RH, 0, READ, 0, S.PENDING, R),
    (RH, 0, READ, WRITE, S.PENDING, R),
    (RH, 0, LOOK, 0, S.SUCCESS, None),
    (RW, ALL, READ, 0, S.PENDING, R),
    (RW, ALL, READ, WRITE, S.PENDING, 0),
    (RW, ALL, c.READ_CONTROL, 0, S.SUCCESS, None),
    (RW, ALL, LOOK, 0, S.SUCCESS, None),
    (RW, 0, READ, 0, S.SHARING_VIOLATION, None),
    (RWH, ALL, READ, 0, S.PENDING, RH),
    (RWH, ALL, c.DELETE, 0, S.PENDING, RH),
    (RWH, ALL, READ, WRITE, S.PENDING, 0),
    (RWH, ALL, LOOK, WRITE, S.PENDING, 0),
    (RWH, ALL, c.READ_CONTROL, 0, S.SUCCESS, None),
    (RWH, 0, READ, 0, S.PENDING, RW),
    (RWH, 0, READ, WRITE, S.PENDING, RW),
    (RWH, 0, c.READ_CONTROL, 0, S.SUCCESS, None),
]


@pytest.mark.parametrize(("state", "share", "access", "implied", "status", "left"), OPENINGS_BESIDE_LEASES)
def test_an_open_beside_a_lease(state: int, share: int, access: int, implied: int, status: S, left: int | None) -> None:
    record = leased(state, share=share)
    outcome = admit(record, opening(access=access, implied=implied), NOW)
    assert outcome.result.status is status
    waits = status is S.PENDING
    # A lease that caches handles is asked for them though nobody waits, where it loses what it reads.
    awaited = waits or (left is not None and state != R)
    expected = () if left is None else (told(state, left, deadline=LATE if awaited else 0.0, epoch=2),)
    assert outcome.messages == expected
    assert (outcome.record.find_open(SECOND) is not None) is (status is S.SUCCESS)


@pytest.mark.parametrize("state", [R, RH, RW, RWH])
@pytest.mark.parametrize(("share", "status"), [(ALL, S.SUCCESS), (0, S.SHARING_VIOLATION)])
@pytest.mark.parametrize("implied", [0, WRITE])
def test_an_open_under_the_lease_breaks_nothing(state: int, share: int, status: S, implied: int) -> None:
    outcome = admit(leased(state, share=share), opening(implied=implied, lease=KEY), NOW)
    assert outcome.result.status is status
    assert not outcome.messages


def test_an_open_under_a_lease_that_breaks_does_not_wait() -> None:
    record = admit(leased(RWH), opening(), NOW).record
    assert record.grants[0].breaking_to == RH
    assert admit(record, opening(THIRD, lease=KEY), NOW).result.status is S.SUCCESS


def test_every_handle_in_the_way_is_asked_for() -> None:
    record = leased(RH, share=0, access=READ)
    record = with_lease(with_open(record, THIRD, LOOK), THIRD, RH, OTHER_KEY)
    outcome = admit(record, opening(), NOW)
    assert outcome.result.status is S.PENDING
    assert outcome.messages == (told(RH, R, epoch=2, deadline=LATE), told(RH, R, epoch=2, deadline=LATE, owner=THIRD))


def test_after_the_handles_come_the_writes() -> None:
    record = leased(RWH, share=0)
    waiting = admit(record, opening(), NOW).record
    kept = acknowledge_lease(waiting, KEY, RW, NOW + 1)
    assert kept.messages == (Message(SECOND, BREAK_ENDED),)
    # The handle was really open.
    assert admit(kept.record, opening(), NOW + 1).result.status is S.SHARING_VIOLATION
    closed = close_file(with_open(kept.record, THIRD, LOOK), FIRST).record
    assert admit(closed, opening(), NOW + 1).result.status is S.SUCCESS


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
