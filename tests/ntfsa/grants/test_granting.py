"""What oplocks and leases are given, beside what (MS-FSA 2.1.5.18 Server Requests an Oplock, MS-SMB2 3.3.1.4)."""

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants.breaking import Break, break_and_wait
from lamina.ntfsa.grants.caching import (
    LEASE_STATES,
    OPEN,
    OPLOCK_LEVEL_LEASE,
    OVERWRITE,
)
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.grants.granting import LeaseState, LeaseWish, grant_lease, grant_oplock, next_epoch
from lamina.ntfsa.locks.lock_table import Lock, LockTable
from lamina.ntfsa.record import EMPTY_RECORD, FileRecord, Grant, OpenEntry
from tests.support.granted import (
    FIRST,
    KEY,
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
    address,
    held,
    leased,
    rights,
    states,
    with_lease,
    with_open,
)

# The level that is asked for, the opens beside, the level that is granted (2.1.5.18.1, 2.1.5.18.2).
OPLOCKS_BESIDE_OPENS = [
    (BATCH, [], BATCH),
    (EXCLUSIVE, [], EXCLUSIVE),
    (II, [], II),
    (NONE, [], NONE),
    (OPLOCK_LEVEL_LEASE, [], NONE),
    (2, [], NONE),
    (BATCH, [LOOK], BATCH),
    (BATCH, [LOOK, READ], II),
    (EXCLUSIVE, [READ], II),
    (EXCLUSIVE, [c.READ_CONTROL], II),
    (II, [READ | WRITE], II),
]


@pytest.mark.parametrize(("asked", "others", "granted"), OPLOCKS_BESIDE_OPENS)
def test_oplocks_beside_opens(asked: int, others: list[int], granted: int) -> None:
    record = EMPTY_RECORD
    for owner, access in enumerate(others):
        record = with_open(record, 10 + owner, access)
    record = with_open(record, 50, READ)
    assert grant_oplock(record, 50, address(50), asked).result == granted


# What is there already, and the level that any oplock is granted beside it.
OPLOCKS_BESIDE_GRANTS = [
    (held(II, LOOK), II),
    (held(EXCLUSIVE, LOOK), NONE),
    (held(BATCH, LOOK), NONE),
    (leased(R, LOOK), II),
    (leased(RH, LOOK), NONE),
    (leased(RW, LOOK), NONE),
    (leased(RWH, LOOK), NONE),
]


@pytest.mark.parametrize("asked", [II, EXCLUSIVE, BATCH])
@pytest.mark.parametrize(("before", "granted"), OPLOCKS_BESIDE_GRANTS)
def test_oplocks_beside_grants(before: FileRecord, asked: int, granted: int) -> None:
    record = with_open(before, SECOND, LOOK)
    assert grant_oplock(record, SECOND, address(SECOND), asked).result == granted


def test_nothing_is_granted_to_who_is_not_there() -> None:
    assert grant_oplock(EMPTY_RECORD, FIRST, address(FIRST), BATCH).result == NONE


def ask_lease(record: FileRecord, owner: int, state: int, lease: bytes = KEY, *, directory: bool = False) -> int:
    """The rights of the lease after it was asked for."""
    return grant_lease(record, owner, address(owner), LeaseWish(lease, state, 0, directory)).result.state


# What smbtorture calls request_results: nothing but the combinations of MS-FSA 2.1.5.18 is granted.
@pytest.mark.parametrize("asked", range(8), ids=rights)
def test_a_lease_is_granted_whole_or_not_at_all(asked: int) -> None:
    record = with_open(EMPTY_RECORD, FIRST)
    assert ask_lease(record, FIRST, asked) == (asked if asked in LEASE_STATES else 0)


# The lease of another client after its break, the lease that is asked for, what is granted: Windows' own table.
LEASES_BESIDE_LEASES = [
    (held_state, asked, granted)
    for held_state in (R, RH)
    for asked, granted in ((R, R), (RH, RH), (RW, R), (RWH, RH), (0, 0))
] + [(state, asked, 0) for state in (RW, RWH) for asked in (R, RH, RW, RWH)]


@pytest.mark.parametrize(("before", "asked", "granted"), LEASES_BESIDE_LEASES)
def test_leases_beside_leases(before: int, asked: int, granted: int) -> None:
    record = with_open(leased(before), SECOND)
    assert ask_lease(record, SECOND, asked, OTHER_KEY) == granted


# An oplock caches handles in a way of its own: beside it there are leases that read (2.1.5.18.2).
@pytest.mark.parametrize(
    ("level", "asked", "granted"),
    [(II, R, R), (II, RH, R), (II, RW, R), (II, RWH, R), *((level, R, 0) for level in (EXCLUSIVE, BATCH))],
)
def test_leases_beside_oplocks(level: int, asked: int, granted: int) -> None:
    record = with_open(held(level), SECOND)
    assert ask_lease(record, SECOND, asked) == granted


@pytest.mark.parametrize(
    ("others", "granted"),
    [([], RWH), ([LOOK], RWH), ([c.READ_CONTROL], RWH), ([READ], RH), ([c.DELETE], RH), ([LOOK, WRITE], RH)],
)
def test_leases_beside_opens_without(others: list[int], granted: int) -> None:
    record = with_open(EMPTY_RECORD, FIRST)
    for number, access in enumerate(others):
        record = with_open(record, 10 + number, access)
    assert ask_lease(record, FIRST, RWH) == granted


@pytest.mark.parametrize(("asked", "granted"), [(0, 0), (R, R), (RH, RH), (RW, R), (RWH, RH), (RH & ~R, 0)])
def test_leases_of_directories_cache_no_writes(asked: int, granted: int) -> None:
    record = with_open(EMPTY_RECORD, FIRST)
    assert ask_lease(record, FIRST, asked, directory=True) == granted


def locked(record: FileRecord, owner: int) -> FileRecord:
    """The record with a lock of `owner`."""
    return record._replace(locks=LockTable.make([Lock(0, 1, owner, True)]))


def test_locks_are_in_the_way_of_who_only_reads() -> None:
    record = locked(with_open(EMPTY_RECORD, FIRST), FIRST)
    assert grant_oplock(record, FIRST, address(FIRST), II).result == NONE
    assert grant_oplock(record, FIRST, address(FIRST), EXCLUSIVE).result == EXCLUSIVE
    assert [ask_lease(record, FIRST, state) for state in (R, RH, RW, RWH)] == [0, 0, RW, RWH]
    record = with_open(record, SECOND)
    assert [ask_lease(record, FIRST, state) for state in (R, RH, RW, RWH)] == [0, 0, 0, 0]


def test_locks_beyond_the_end_of_the_file_are_in_nobodys_way() -> None:
    record = with_open(locked(with_open(EMPTY_RECORD, FIRST), FIRST), SECOND)
    for end_of_file, granted in ((0, RH), (1, 0)):
        wish = LeaseWish(b"lease", RH, end_of_file=end_of_file)
        assert grant_lease(record, SECOND, address(SECOND), wish).result.state == granted


def test_a_lease_does_not_grow_beside_locks() -> None:
    record = with_open(locked(leased(R), FIRST), SECOND)
    assert ask_lease(record, SECOND, RH) == R
    assert ask_lease(record, SECOND, RWH) == RWH


# What is held, what is asked for under the same key, what it comes to: Windows' own table (smb2.lease.upgrade2).
UPGRADES = {
    0: {0: 0, R: R, RH: RH, RW: RW, RWH: RWH},
    R: {0: R, R: R, RH: RH, RW: RW, RWH: RWH},
    RH: {0: RH, R: RH, RH: RH, RW: RH, RWH: RWH},
    RW: {0: RW, R: RW, RH: RW, RW: RW, RWH: RWH},
    RWH: {0: RWH, R: RWH, RH: RWH, RW: RWH, RWH: RWH},
}


@pytest.mark.parametrize("before", UPGRADES, ids=rights)
@pytest.mark.parametrize("asked", UPGRADES, ids=rights)
def test_upgrades(before: int, asked: int) -> None:
    after = UPGRADES[before][asked]
    record = with_open(leased(before, epoch=9), SECOND)
    first_epoch = 10 if before else 9
    outcome = grant_lease(record, SECOND, address(SECOND), LeaseWish(KEY, asked, 77))
    assert outcome.result == LeaseState(after, first_epoch + (after != before), False)
    (grant,) = outcome.record.grants
    assert (grant.owners, grant.address, grant.state) == ((FIRST, SECOND), address(FIRST), after)


# The same beside another client's lease R: what would have to cache writes stays (smb2.lease.upgrade3).
@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [(R, RH, RH), (R, RW, R), (R, RWH, R), (RH, RW, RH), (RH, RWH, RH), (RH, R, RH)],
)
def test_upgrades_beside_others(before: int, asked: int, after: int) -> None:
    record = with_lease(with_open(leased(before), SECOND), SECOND, R, OTHER_KEY)
    assert ask_lease(with_open(record, THIRD), THIRD, asked) == after


def test_a_lease_that_breaks_is_shared_and_stays() -> None:
    record = break_and_wait(leased(RWH), Break(OPEN, SECOND, b"", 77, NOW)).record
    outcome = grant_lease(with_open(record, THIRD), THIRD, address(THIRD), LeaseWish(KEY, RWH))
    assert outcome.result == LeaseState(RWH, 2, True)
    assert outcome.record.grants[0].owners == (FIRST, THIRD)
    assert outcome.record.grants[0].breaking_to == RH


def test_a_lease_that_was_lost_may_be_had_again() -> None:
    record = break_and_wait(leased(R), Break(OVERWRITE, SECOND, b"", 77, NOW)).record
    assert states(record.grants) == [0]
    assert ask_lease(with_open(record, SECOND), SECOND, RWH) == RWH


def test_a_lease_of_nothing_is_in_nobodys_way() -> None:
    record = with_open(leased(0, LOOK), SECOND)
    assert grant_oplock(record, SECOND, address(SECOND), II).result == II
    assert ask_lease(record, SECOND, RWH, OTHER_KEY) == RWH


@pytest.mark.parametrize(("state", "epoch", "told"), [(R, 0, 1), (RWH, 41, 42), (0, 41, 41), (R, 0xFFFF, 0)])
def test_the_epoch_counts_from_the_clients(state: int, epoch: int, told: int) -> None:
    outcome = grant_lease(with_open(EMPTY_RECORD, FIRST), FIRST, address(FIRST), LeaseWish(KEY, state, epoch))
    assert outcome.result.epoch == told


def test_the_epoch_has_sixteen_bits() -> None:
    assert next_epoch(0xFFFF) == 0


class Counted(int):
    """The number of an open; counts how often one is compared with another."""

    comparisons = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return int.__eq__(self, other)


def test_thousands_of_opens_share_a_lease_without_quadratic_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = tuple(map(Counted, range(1, 2001)))
    record = FileRecord(opens=tuple(OpenEntry(owner, READ, 7, 0) for owner in owners))
    record = record._replace(grants=(Grant(owners[:-1], 0, R, KEY, 1),))
    monkeypatch.setattr(Counted, "comparisons", 0)
    assert grant_lease(record, owners[-1], 0, LeaseWish(KEY, RWH)).result.state == RWH
    assert Counted.comparisons < 10 * len(owners)
