"""Opening and closing: the table of MS-FSA 2.1.5.1.2.2, and random histories against a naive reading of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.locks.byte_range import lock
from lamina.ntfsa.opening.delete import set_delete_on_close, set_delete_pending
from lamina.ntfsa.opening.sharing import (
    CloseResult,
    close_file,
    closing_deletes,
    open_file,
    share_counts_of,
    sharing_conflict,
)
from lamina.ntfsa.record import (
    EMPTY_RECORD,
    LOCK_GRANTED,
    OPEN_DELETE_ON_CLOSE,
    FileRecord,
    LockRange,
    Message,
    OpenEntry,
)
from lamina.ntfsa.record_form import from_plain, to_plain
from lamina.ntfsa.status import NtStatus

R, W, D = c.FILE_READ_DATA, c.FILE_WRITE_DATA, c.DELETE
SR, SW, SD, ALL = c.FILE_SHARE_READ, c.FILE_SHARE_WRITE, c.FILE_SHARE_DELETE, c.FILE_SHARE_ALL


def opened(*opens: tuple[int, int], flags: int = 0) -> FileRecord:
    record = EMPTY_RECORD
    for owner, (access, share) in enumerate(opens, 1):
        outcome = open_file(record, owner, access, share, flags)
        assert outcome.result == NtStatus.SUCCESS
        record = outcome.record
    return record


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ((R, SR), (R, SR), True),
        ((R, 0), (R, SR), False),
        ((R, SR), (R, 0), False),
        ((R, SR), (W, ALL), False),
        ((W, SR), (R, SR), False),
        ((W, ALL), (R, SR | SW), True),
        ((R, SR | SW), (D, ALL), False),
        ((R, ALL), (D, ALL), True),
        ((D, ALL), (R, SR | SW), False),
        ((c.FILE_EXECUTE, SW), (c.FILE_EXECUTE, SR), False),
        ((c.FILE_APPEND_DATA, SR), (c.FILE_APPEND_DATA, SR), False),
        ((c.FILE_READ_ATTRIBUTES, 0), (R | W | D, 0), True),
        ((R | W | D, 0), (c.FILE_READ_ATTRIBUTES | c.SYNCHRONIZE | c.READ_CONTROL, 0), True),
        ((R, 0), (c.FILE_WRITE_ATTRIBUTES | c.WRITE_DAC, 0), True),
    ],
)
def test_two_opens(first: tuple[int, int], second: tuple[int, int], allowed: bool) -> None:
    outcome = open_file(opened(first), 9, *second)
    assert outcome.result == (NtStatus.SUCCESS if allowed else NtStatus.SHARING_VIOLATION)


ACCESS = st.sets(st.sampled_from([R, W, D, c.FILE_EXECUTE, c.FILE_APPEND_DATA, c.FILE_READ_ATTRIBUTES])).map(sum)


def naive_conflict(one: tuple[int, int], other: tuple[int, int]) -> bool:
    for (access, _), (other_access, share) in ((one, other), (other, one)):
        if not other_access & c.SHARING_ACCESS:
            return False
        if access & (R | c.FILE_EXECUTE) and not share & SR:
            return True
        if access & (W | c.FILE_APPEND_DATA) and not share & SW:
            return True
        if access & D and not share & SD:
            return True
    return False


@given(st.lists(st.tuples(st.integers(1, 12), ACCESS, st.integers(0, 7)), max_size=30))
def test_histories_agree_with_asking_every_open(steps: list[tuple[int, int, int]]) -> None:
    record = EMPTY_RECORD
    model: dict[int, tuple[int, int]] = {}
    for owner, access, share in steps:
        if owner in model:
            outcome = close_file(record, owner)
            del model[owner]
            assert outcome.result == CloseResult(not model, False)
            record = outcome.record
        else:
            conflict = any(naive_conflict((access, share), other) for other in model.values())
            assert sharing_conflict(record, access, share) is conflict
            opening = open_file(record, owner, access, share)
            assert opening.result == (NtStatus.SHARING_VIOLATION if conflict else NtStatus.SUCCESS)
            if not conflict:
                model[owner] = (access, share)
            record = opening.record
        assert [entry.owner for entry in record.opens] == sorted(model)
        assert record.share_counts == share_counts_of(record.opens)


def test_a_file_being_deleted_cannot_be_opened() -> None:
    record = set_delete_pending(opened((R, ALL)), True).record
    assert open_file(record, 2, c.FILE_READ_ATTRIBUTES, ALL).result == NtStatus.DELETE_PENDING
    record = set_delete_pending(record, False).record
    assert open_file(record, 2, c.FILE_READ_ATTRIBUTES, ALL).result == NtStatus.SUCCESS


def test_the_last_close_deletes_what_is_pending() -> None:
    record = set_delete_pending(opened((R, ALL), (R, ALL)), True).record
    assert not closing_deletes(record, 1)
    outcome = close_file(record, 1)
    assert outcome.result == CloseResult(False, False)
    assert closing_deletes(outcome.record, 2)
    assert not closing_deletes(outcome.record, 3)
    assert close_file(outcome.record, 2).result == CloseResult(True, True)


def test_delete_on_close_marks_the_file_for_those_who_remain() -> None:
    record = opened((R, ALL))
    record = open_file(record, 2, D, ALL, OPEN_DELETE_ON_CLOSE).record
    assert open_file(record, 3, R, ALL).result == NtStatus.SUCCESS
    record = close_file(record, 2).record
    assert open_file(record, 3, R, ALL).result == NtStatus.DELETE_PENDING
    assert close_file(record, 1).result == CloseResult(True, True)


def test_delete_on_close_can_be_set_and_taken_back() -> None:
    record = set_delete_on_close(opened((D, ALL)), 1, True).record
    assert closing_deletes(record, 1)
    record = set_delete_on_close(record, 1, False).record
    assert close_file(record, 1).result == CloseResult(True, False)
    assert set_delete_on_close(record, 7, True).result == NtStatus.FILE_CLOSED


def test_a_close_lets_go_of_locks_and_wakes_who_waits() -> None:
    record = opened((R, ALL), (R, ALL))
    record = lock(record, 1, [LockRange(0, 1, True)]).record
    record = lock(record, 2, [LockRange(0, 1, True)], 5).record
    outcome = close_file(record, 1)
    assert outcome.messages == (Message(2, LOCK_GRANTED, (5,)),)
    assert [held.owner for held in outcome.record.locks] == [2]
    assert close_file(outcome.record, 2).record == EMPTY_RECORD


def test_closing_a_stranger_changes_nothing() -> None:
    record = opened((R, ALL))
    outcome = close_file(record, 5)
    assert outcome.record is record
    assert outcome.result == CloseResult(False, False)


def test_opens_are_found_by_owner() -> None:
    record = opened((R, ALL), (W, ALL))
    assert record.find_open(2) == OpenEntry(2, W, ALL, 0)
    assert record.find_open(3) is None


def test_the_plain_form_comes_back_and_knows_its_version() -> None:
    record = opened((R, SR | SW), (R, ALL))
    record = lock(record, 1, [LockRange(0, 1, True)]).record
    record = lock(record, 2, [LockRange(0, 1, True)], 5).record
    assert from_plain(to_plain(record)) == record
    with pytest.raises(ValueError, match="form 99"):
        from_plain((99, *to_plain(record)[1:]))
