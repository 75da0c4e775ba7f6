"""What oplocks and leases are given, beside what (MS-FSA 2.1.5.18 Server Requests an Oplock)."""

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.granting import grant_oplock
from lamina.ntfsa.lock_table import Lock, LockTable
from lamina.ntfsa.record import EMPTY_RECORD
from tests.support.granted import FIRST, LOOK, READ, SECOND, WRITE, address, held, with_open


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
def test_oplocks_beside_opens(asked: int, others: list[int], granted: int) -> None:
    record = EMPTY_RECORD
    for owner, access in enumerate(others):
        record = with_open(record, 10 + owner, access)
    record = with_open(record, 50, READ)
    assert grant_oplock(record, 50, address(50), asked).result == granted


@pytest.mark.parametrize(("first", "second"), [(II, II), (EXCLUSIVE, NONE), (BATCH, NONE)])
def test_oplocks_beside_oplocks(first: int, second: int) -> None:
    record = with_open(held(first, LOOK), SECOND, LOOK)
    for asked in (II, EXCLUSIVE, BATCH):
        assert grant_oplock(record, SECOND, address(SECOND), asked).result == second


def test_locks_are_in_the_way_of_level_two() -> None:
    record = with_open(EMPTY_RECORD, FIRST, READ)
    record = record._replace(locks=LockTable.make([Lock(0, 1, FIRST, True)]))
    assert grant_oplock(record, FIRST, address(FIRST), II).result == NONE


def test_nothing_is_granted_to_who_is_not_there() -> None:
    assert grant_oplock(EMPTY_RECORD, FIRST, address(FIRST), BATCH).result == NONE
