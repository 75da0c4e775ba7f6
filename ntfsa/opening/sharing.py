"""The rules of opening and closing: share access and what a close leaves behind (MS-FSA 2.1.5.1.2.2 and 2.1.5.5).

The sharing of all the opens of a record is kept in one integer of six counts, as a file system's SHARE_ACCESS: how
many read, write, delete, and how many do not share reading, writing, deleting. So the check and the bookkeeping cost
the same whether a file is open once or ten thousand times. Opens that ask for attributes only take no part.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple

from lamina.ntfsa.constants import (
    DELETE,
    FILE_APPEND_DATA,
    FILE_EXECUTE,
    FILE_READ_DATA,
    FILE_SHARE_ALL,
    FILE_WRITE_DATA,
)
from lamina.ntfsa.grants.breaking import release_grants
from lamina.ntfsa.locks.byte_range import release_owner
from lamina.ntfsa.record import EMPTY_RECORD, OPEN_DELETE_ON_CLOSE, FileRecord, Message, OpenEntry, Outcome
from lamina.ntfsa.status import NtStatus

_READS: Final = FILE_READ_DATA | FILE_EXECUTE
_WRITES: Final = FILE_WRITE_DATA | FILE_APPEND_DATA
_TAKES_PART: Final = _READS | _WRITES | DELETE
_COUNT_BITS: Final = 32
# Makes a named tuple of a tuple at half the price of calling its class; here only, where every open and close passes.
_make = tuple.__new__
_SUCCESS: Final = NtStatus.SUCCESS
_DELETE_PENDING: Final = NtStatus.DELETE_PENDING
_SHARING_VIOLATION: Final = NtStatus.SHARING_VIOLATION
_OPLOCK_BREAK_IN_PROGRESS: Final = NtStatus.OPLOCK_BREAK_IN_PROGRESS
_FULL: Final = (1 << _COUNT_BITS) - 1


def _field(index: int, value: int) -> int:
    return value << (_COUNT_BITS * index)


# Both tables are indexed by six bits: reads, writes, deletes, denies reading, denies writing, denies deleting.
# What an open adds to the counts, and which counts must be zero for it to be let in: what it does must be denied by
# nobody, what it denies must be done by nobody.
_CONTRIBUTION: Final = tuple(sum(_field(i, 1) for i in range(6) if index >> i & 1) for index in range(64))
_CONFLICT: Final = tuple(sum(_field((i + 3) % 6, _FULL) for i in range(6) if index >> i & 1) for index in range(64))


def _share_index(granted_access: int, share_access: int) -> int:
    does = 0
    if granted_access & _READS:
        does = 1
    if granted_access & _WRITES:
        does |= 2
    if granted_access & DELETE:
        does |= 4
    return does | (~share_access & FILE_SHARE_ALL) << 3 if does else 0


def share_counts_of(opens: Iterable[OpenEntry]) -> int:
    """The counts of `FileRecord.share_counts` for `opens`."""
    return sum(_CONTRIBUTION[_share_index(entry.granted_access, entry.share_access)] for entry in opens)


def sharing_conflict(record: FileRecord, granted_access: int, share_access: int) -> bool:
    """Whether an open with this access and sharing would be a sharing violation beside those in `record`."""
    return bool(record.share_counts & _CONFLICT[_share_index(granted_access, share_access)])


class CloseResult(NamedTuple):
    """What a close comes to: whether it was the last open, and whether the closer must now delete the file."""

    last: bool
    delete: bool


_STAYS_OPEN: Final = CloseResult(False, False)
# Nothing of a record outlives its last open.
_ENDS: Final = Outcome(EMPTY_RECORD, CloseResult(True, False))
_ENDS_WITH_DELETE: Final = Outcome(EMPTY_RECORD, CloseResult(True, True))


def open_file(
    record: FileRecord, owner: int, granted_access: int, share_access: int, flags: int = 0, beside_grants: bool = False
) -> Outcome[NtStatus]:
    """Let an open in: SUCCESS, or DELETE_PENDING or SHARING_VIOLATION with the record unchanged.

    `owner` is a number unique per open in the server; `flags` are OPEN_* of `record`. Where somebody holds caching
    grants it is OPLOCK_BREAK_IN_PROGRESS, and `admission` must decide, which then comes with `beside_grants`.
    """
    opens, counts, locks, waiters, delete_pending, grants, version, write_time = record
    if delete_pending:
        return Outcome(record, _DELETE_PENDING)
    if grants and not beside_grants:
        return Outcome(record, _OPLOCK_BREAK_IN_PROGRESS)
    index = 0  # as `_share_index`, where every open passes
    if granted_access & _TAKES_PART:
        index = _share_index(granted_access, share_access)
    if counts & _CONFLICT[index]:
        return Outcome(record, _SHARING_VIOLATION)
    entry = _make(OpenEntry, (owner, granted_access, share_access, flags))
    if not opens or opens[-1][0] < owner:
        opens = (*opens, entry)
    else:
        at = bisect_left(opens, (owner,))
        opens = (*opens[:at], entry, *opens[at:])
    counts += _CONTRIBUTION[index]
    changed = _make(FileRecord, (opens, counts, locks, waiters, False, grants, version + 1, write_time))
    return _make(Outcome, (changed, _SUCCESS, ()))


def closing_deletes(record: FileRecord, owner: int) -> bool:
    """Whether closing the open `owner` now would be the close that deletes the file.

    Whoever must wait to delete it asks first, sets delete-pending, deletes, and closes then: so nobody opens what is
    about to go.
    """
    opens = record.opens
    if len(opens) != 1 or opens[0].owner != owner:
        return False
    return record.delete_pending or bool(opens[0].flags & OPEN_DELETE_ON_CLOSE)


def close_file(record: FileRecord, owner: int) -> Outcome[CloseResult]:
    """Take an open out, with its locks, waiting locks and caching grants.

    An open with delete-on-close marks the file deleted, also for the opens that remain (MS-FSA 2.1.5.5 Server
    Requests Closing an Open); the last close says that the file is to be deleted. Closing what is not open
    changes nothing.
    """
    opens, counts, locks, waiters, delete_pending, grants, version, write_time = record
    at = bisect_left(opens, (owner,))
    if at == len(opens) or opens[at].owner != owner:
        return Outcome(record, _STAYS_OPEN)
    entry = opens[at]
    delete_pending = delete_pending or bool(entry.flags & OPEN_DELETE_ON_CLOSE)
    freed: tuple[Message, ...] = ()
    if grants:
        grants, freed = release_grants(grants, owner)
    if len(opens) == 1:
        ends = _ENDS_WITH_DELETE if delete_pending else _ENDS
        return ends._replace(messages=freed) if freed else ends
    opens = (*opens[:at], *opens[at + 1 :])
    counts -= _CONTRIBUTION[_share_index(entry.granted_access, entry.share_access)]
    record = FileRecord(opens, counts, locks, waiters, delete_pending, grants, version + 1, write_time)
    if not locks and not waiters:
        return Outcome(record, _STAYS_OPEN, freed)
    record, _, messages = release_owner(record, owner)
    return Outcome(record, _STAYS_OPEN, freed + messages)
