"""The rule by which an open goes to another worker: it gets that one's numbers, and keeps all it has."""

from typing import NamedTuple

from lamina.ntfsa.locks.lock_table import LockTable
from lamina.ntfsa.record import FileRecord, Grant, Outcome
from lamina.ntfsa.workers.numbers import worker_of


class Numbers(NamedTuple):
    """An open, and where messages about its grant go."""

    owner: int
    address: int


def renumber(record: FileRecord, owner: int, new: Numbers) -> Outcome[bool]:
    """Whether the open `owner` was there, which has the new numbers now.

    A lease that others share, who go the same way, has its new address from the first of them.
    """
    if record.find_open(owner) is None:
        return Outcome(record, False)
    opens = (entry._replace(owner=new.owner) if entry.owner == owner else entry for entry in record.opens)
    locks = record.locks
    if any(lock.owner == owner for lock in locks):
        locks = LockTable.make(lock._replace(owner=new.owner) if lock.owner == owner else lock for lock in record.locks)
    after = record._replace(
        opens=tuple(sorted(opens)),
        locks=locks,
        waiters=tuple(waiter for waiter in record.waiters if waiter.owner != owner),
        grants=tuple(_renumbered(grant, owner, new) for grant in record.grants),
        version=record.version + 1,
    )
    return Outcome(after, True)


def _renumbered(grant: Grant, old: int, new: Numbers) -> Grant:
    if old not in grant.owners:
        return grant
    owners = tuple(new.owner if owner == old else owner for owner in grant.owners)
    is_there = worker_of(grant.address) == worker_of(new.address)
    return grant._replace(owners=owners, address=grant.address if is_there else new.address)
