"""The plain form of a file record: tuples, integers and booleans, to be stored or sent to another process."""

from typing import Any, Final

from lamina.ntfsa.locks.lock_table import Lock, LockTable
from lamina.ntfsa.opening.sharing import share_counts_of
from lamina.ntfsa.record import FileRecord, Grant, LockRange, OpenEntry, Waiter, WriteTime

FORMAT: Final = 1
"""Version of the plain form."""


def to_plain(record: FileRecord) -> tuple[Any, ...]:
    """The record as plain tuples, integers and booleans, beginning with the version of this form."""
    return (
        FORMAT,
        record.version,
        tuple(map(tuple, record.opens)),
        tuple(map(tuple, record.locks)),
        tuple((w.owner, w.ticket, tuple(map(tuple, w.ranges))) for w in record.waiters),
        record.delete_pending,
        tuple(map(tuple, record.grants)),
        None if record.write_time is None else tuple(record.write_time),
    )


def from_plain(plain: tuple[Any, ...]) -> FileRecord:
    """The record that `to_plain` made `plain` of. Raises ValueError for a form of another version."""
    if plain[0] != FORMAT:
        raise ValueError(f"a file record of form {plain[0]}, not {FORMAT}")
    _, version, opens, locks, waiters, delete_pending, grants, write_time = plain
    entries = tuple(OpenEntry(*entry) for entry in opens)
    return FileRecord(
        entries,
        share_counts_of(entries),
        LockTable.make(Lock(*lock) for lock in locks),
        tuple(Waiter(owner, ticket, tuple(LockRange(*r) for r in ranges)) for owner, ticket, ranges in waiters),
        delete_pending,
        tuple(Grant(*grant) for grant in grants),
        version,
        None if write_time is None else WriteTime(*write_time),
    )
