"""What each operation takes from every grant, held against the pages of the specification.

MS-FSA 2.1.4.12 Algorithm to Check for an Oplock Break, MS-SMB2 3.3.1.4 Algorithm for Leasing in an Object Store: the
table stands in `specified_breaks`.
"""

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants import caching
from lamina.ntfsa.grants.breaking import Break, break_and_wait, break_now
from lamina.ntfsa.grants.caching import (
    ANSWERED,
    CHANGE_DATA,
    LEASE_STATES,
    LEVEL_OF_STATE,
    LOCK,
    OPEN,
    OPERATIONS,
    READ_CACHING,
    STATE_OF_LEVEL,
    Operation,
    remaining,
    takes_part,
    touches_leases,
)
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.record import EMPTY_RECORD, STABLE, FileRecord
from tests.support.granted import (
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
    WRITE,
    R,
    held,
    leased,
    rights,
    told,
    with_lease,
    with_open,
)
from tests.support.specified_breaks import HOLDERS, WHAT_IS_LEFT, Verdict

HOLDING = (held(II), held(EXCLUSIVE), held(BATCH), leased(R), leased(RH), leased(RW), leased(RWH))
RIGHTS = {rights(state).strip("-"): state for state in (0, R, RH, RW, RWH)}
CASES = [
    pytest.param(getattr(caching, name), record, row[holder], id=f"{name}-{holder}")
    for name, row in WHAT_IS_LEFT.items()
    for holder, record in zip(HOLDERS, HOLDING, strict=True)
]


def test_the_table_has_every_operation() -> None:
    assert {getattr(caching, name) for name in WHAT_IS_LEFT} == set(OPERATIONS)


@pytest.mark.parametrize(("operation", "record", "expected"), CASES)
def test_what_an_operation_leaves(operation: Operation, record: FileRecord, expected: Verdict | None) -> None:
    (before,) = record.grants
    outcome = break_and_wait(record, Break(operation, SECOND, b"", 77, NOW))
    if expected is None:
        assert outcome == (record, None, ())
        return
    left = RIGHTS[expected.left]
    deadline = LATE if expected.answered else 0.0
    assert outcome.messages == (told(before.state, left, epoch=before.epoch + 1, deadline=deadline),)
    assert outcome.result == (LATE if expected.waits else None)
    if expected.answered:
        (after,) = outcome.record.grants
        assert after.state == before.state
        assert (after.breaking_to, after.required, after.deadline) == (left, left, LATE)
        assert after.waiters == ((77,) if expected.waits else ())
    else:
        remain = [(grant.state, grant.breaking_to) for grant in outcome.record.grants if grant.state]
        assert remain == ([(left, STABLE)] if left else [])


@pytest.mark.parametrize(("operation", "record", "expected"), CASES)
def test_who_does_not_wait_breaks_the_same(operation: Operation, record: FileRecord, expected: Verdict | None) -> None:
    waiting = break_and_wait(record, Break(operation, SECOND, b"", 77, NOW))
    passing = break_now(record, operation, SECOND, b"", NOW)
    assert passing.messages == waiting.messages
    assert [grant._replace(waiters=()) for grant in waiting.record.grants] == list(passing.record.grants)
    assert bool(passing.messages) is (expected is not None)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("state", [R, RH, RW, RWH], ids=rights)
def test_nothing_under_a_lease_breaks_it(operation: Operation, state: int) -> None:
    record = with_open(leased(state), SECOND)
    assert break_and_wait(record, Break(operation, SECOND, KEY, 77, NOW)) == (record, None, ())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("level", [EXCLUSIVE, BATCH])
def test_nothing_that_the_holder_does_breaks_what_only_it_can_have(operation: Operation, level: int) -> None:
    record = held(level)
    assert break_and_wait(record, Break(operation, FIRST, b"", 77, NOW)) == (record, None, ())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_level_two_is_lost_by_its_own_writes_and_locks(operation: Operation) -> None:
    outcome = break_and_wait(held(II), Break(operation, FIRST, b"", 77, NOW))
    assert bool(outcome.messages) is (operation in {CHANGE_DATA, LOCK})
    assert outcome.result is None


@pytest.mark.parametrize("operation", [CHANGE_DATA, LOCK], ids=lambda operation: operation.name)
def test_one_client_with_two_lease_keys_is_two(operation: Operation) -> None:
    record = with_lease(with_open(leased(R), SECOND), SECOND, R, OTHER_KEY)
    outcome = break_and_wait(record, Break(operation, SECOND, OTHER_KEY, 77, NOW))
    assert [message.owner for message in outcome.messages] == [101]


@pytest.mark.parametrize("state", [R, RH, RW, RWH], ids=rights)
def test_who_reads_the_descriptor_breaks_oplocks_only(state: int) -> None:
    for record, broken in ((leased(state), False), (held(EXCLUSIVE), True)):
        outcome = break_and_wait(record, Break(OPEN, SECOND, b"", 77, NOW, touches_leases=False))
        assert bool(outcome.messages) is broken


@pytest.mark.parametrize(
    ("access", "oplocks", "leases"),
    [
        (0, False, False),
        (LOOK, False, False),
        (c.READ_CONTROL, True, False),
        (LOOK | c.READ_CONTROL, True, False),
        (READ, True, True),
        (WRITE, True, True),
        (c.FILE_READ_EA, True, True),
        (c.FILE_EXECUTE, True, True),
        (c.DELETE, True, True),
        (c.WRITE_DAC, True, True),
        (c.ACCESS_SYSTEM_SECURITY, True, True),
        (LOOK | READ, True, True),
    ],
)
def test_which_opens_take_part(access: int, oplocks: bool, leases: bool) -> None:
    assert takes_part(access) is oplocks
    assert touches_leases(access) is leases


def test_every_lease_caches_reads() -> None:
    assert all(not state or state & READ_CACHING for state in LEASE_STATES)
    assert set(STATE_OF_LEVEL.values()) <= LEASE_STATES


@pytest.mark.parametrize("state", sorted(LEASE_STATES), ids=rights)
@pytest.mark.parametrize("lost", range(8), ids=rights)
def test_what_remains_is_a_state(state: int, lost: int) -> None:
    lease = remaining(True, state, lost)
    assert lease in LEASE_STATES
    assert not lease & lost
    assert not lease & ~state
    oplock = remaining(False, state, lost)
    assert oplock == state if not state & lost else oplock in {0, READ_CACHING} and not oplock & lost
    assert oplock in LEVEL_OF_STATE or state == RH


def test_rights_that_need_no_answer_only_read() -> None:
    assert ANSWERED | READ_CACHING == RWH
    assert not ANSWERED & READ_CACHING


def test_what_nobody_holds_is_not_broken() -> None:
    for operation in OPERATIONS:
        assert break_and_wait(EMPTY_RECORD, Break(operation, SECOND, b"", 77, NOW)) == (EMPTY_RECORD, None, ())
