"""The rule by which an open goes to another worker: it gets that one's numbers, and keeps all it has."""

from typing import NamedTuple

from lamina.ntfsa.locks.lock_table import LockTable
from lamina.ntfsa.record import FileRecord, Grant, Outcome


class Numbers(NamedTuple):
    """An open, and where messages about its grant go."""

    owner: int
    address: int


def renumber(record: FileRecord, old: Numbers, new: Numbers) -> Outcome[bool]:
    """Whether the open was there, which has the new numbers now."""
    if record.find_open(old.owner) is None:
        return Outcome(record, False)
    opens = (entry._replace(owner=new.owner) if entry.owner == old.owner else entry for entry in record.opens)
    locks = record.locks
    if any(lock.owner == old.owner for lock in locks):
        locks = LockTable.make(
            lock._replace(owner=new.owner) if lock.owner == old.owner else lock for lock in record.locks
        )
    after = record._replace(
        opens=tuple(sorted(opens)),
        locks=locks,
        waiters=tuple(waiter for waiter in record.waiters if waiter.owner != old.owner),
        grants=tuple(_renumbered(grant, old, new) for grant in record.grants),
        version=record.version + 1,
    )
    return Outcome(after, True)


def _renumbered(grant: Grant, old: Numbers, new: Numbers) -> Grant:
    if old.owner not in grant.owners:
        return grant
    owners = tuple(new.owner if owner == old.owner else owner for owner in grant.owners)
    return grant._replace(owners=owners, address=new.address if grant.address == old.address else grant.address)
