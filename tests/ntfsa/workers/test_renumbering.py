"""An open that goes to another worker keeps all it has in the record, under other numbers."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.constants import FILE_READ_DATA, FILE_SHARE_ALL
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH
from lamina.ntfsa.grants.granting import grant_oplock
from lamina.ntfsa.locks.byte_range import lock
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.record import EMPTY_RECORD, FileRecord, LockRange
from lamina.ntfsa.workers.renumbering import Numbers, renumber

NEW = Numbers(900, 901)


def opened(owners: list[int], locked: int) -> FileRecord:
    record = EMPTY_RECORD
    for owner in owners:
        record = open_file(record, owner, FILE_READ_DATA, FILE_SHARE_ALL).record
        record = lock(record, owner, [LockRange(owner * 10 + at, 1, True) for at in range(locked)]).record
    return record


@given(st.lists(st.integers(1, 2000).filter(lambda n: n != NEW.owner), min_size=1, max_size=6, unique=True), st.data())
def test_it_is_as_if_it_had_been_opened_by_the_new_number(owners: list[int], data: st.DataObject) -> None:
    moved = data.draw(st.sampled_from(owners))
    locked = data.draw(st.integers(0, 3))
    before = opened(owners, locked)
    after = renumber(before, moved, NEW)
    assert after.result
    record = after.record
    assert sorted(entry.owner for entry in record.opens) == [entry.owner for entry in record.opens]
    assert record.find_open(moved) is None
    assert record.find_open(NEW.owner) is not None
    assert record.share_counts == before.share_counts
    assert {(held.offset, held.owner) for held in record.locks} == {
        (held.offset, NEW.owner if held.owner == moved else held.owner) for held in before.locks
    }
    for entry in before.opens:
        record = close_file(record, NEW.owner if entry.owner == moved else entry.owner).record
    assert record == EMPTY_RECORD


def test_its_oplock_goes_along() -> None:
    record = grant_oplock(opened([5], 0), 5, 6, OPLOCK_LEVEL_BATCH).record
    (grant,) = renumber(record, 5, NEW).record.grants
    assert (grant.owners, grant.address) == ((900,), 901)


def test_what_is_not_open_goes_nowhere() -> None:
    record = opened([5], 0)
    after = renumber(record, 7, NEW)
    assert not after.result
    assert after.record is record
