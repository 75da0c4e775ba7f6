"""The rules by which caching rights are given (MS-FSA 2.1.5.18 Server Requests an Oplock).

Who caches writes is alone with the file; who caches a handle shares it with leases only. An open that looks at
attributes alone is in nobody's way.
"""

from typing import Final, NamedTuple

from lamina.ntfsa.grants.caching import (
    HANDLE_CACHING,
    LEASE_STATES,
    LEVEL_OF_STATE,
    OPLOCK_LEVEL_NONE,
    READ_CACHING,
    STATE_OF_LEVEL,
    WRITE_CACHING,
    takes_part,
    touches_leases,
)
from lamina.ntfsa.record import STABLE, FileRecord, Grant, Outcome

_MAX_EPOCH: Final = 0xFFFF
_WHOLE_RANGE: Final = 1 << 64


def with_grants(record: FileRecord, grants: tuple[Grant, ...]) -> FileRecord:
    """The record with other grants."""
    # Not `_replace`, which costs as much as the rest of the rule: many opens ask for an oplock.
    opens, counts, locks, waiters, delete_pending, _, version, write_time = record
    return FileRecord(opens, counts, locks, waiters, delete_pending, grants, version + 1, write_time)


def grant_oplock(record: FileRecord, owner: int, address: int, level: int) -> Outcome[int]:
    """Give the open `owner` the oplock `level`, a lesser one, or none: the level that was granted.

    `address` is a new number of the registry: where messages about the grant go. Exclusive and batch are for an open
    that is alone; beside others there is level II, unless somebody may cache writes or a handle, or locks are held
    (MS-FSA 2.1.5.18.1, 2.1.5.18.2).
    """
    state = STATE_OF_LEVEL.get(level, 0)
    grants = record.grants
    if not state or record.find_open(owner) is None:
        return Outcome(record, OPLOCK_LEVEL_NONE)
    if (grants and any(grant.state for grant in grants)) or (
        len(record.opens) > 1 and any(e.owner != owner and takes_part(e.granted_access) for e in record.opens)
    ):
        state = READ_CACHING
    if state == READ_CACHING and (record.locks or any(g.state & (WRITE_CACHING | HANDLE_CACHING) for g in grants)):
        return Outcome(record, OPLOCK_LEVEL_NONE)
    return Outcome(with_grants(record, (*grants, Grant((owner,), address, state))), LEVEL_OF_STATE[state])


class LeaseWish(NamedTuple):
    """A lease that is asked for. `lease` is the client's guid and its key; `state` *_CACHING, `epoch` of version 2.

    `end_of_file`, in bytes: locks beyond it lock nothing that could be cached.
    """

    lease: bytes
    state: int
    epoch: int = 0
    directory: bool = False
    end_of_file: int = _WHOLE_RANGE


class LeaseState(NamedTuple):
    """A lease after it was asked for: the rights it is now, its epoch, and whether it breaks (MS-SMB2 2.2.14.2)."""

    state: int
    epoch: int
    breaking: bool


def grant_lease(record: FileRecord, owner: int, address: int, wish: LeaseWish) -> Outcome[LeaseState]:
    """Let the open `owner` share the lease, which begins, grows to what is asked, or stays as it is.

    It never shrinks, nor trades one right for another, and a lease that is breaking stays as it is (MS-SMB2
    3.3.5.9.8, 3.3.5.9.11). Beside locks there is none that does not cache writes, and with them the locks (MS-FSA
    2.1.5.18). The epoch counts the changes.
    """
    grants = record.grants
    held = next((grant for grant in grants if grant.lease == wish.lease), None)
    if held is None:
        state = _grantable(record, wish, (owner,))
        grant = Grant((owner,), address, state, wish.lease, next_epoch(wish.epoch) if state else wish.epoch)
        return Outcome(with_grants(record, (*grants, grant)), LeaseState(state, grant.epoch, False))
    after = held._replace(owners=(*held.owners, owner))
    if held.breaking_to == STABLE:
        state = _grantable(record, wish, after.owners)
        # It grows to all that is asked, or not at all.
        if (state == wish.state or wish.directory) and state != held.state and not held.state & ~state:
            after = after._replace(state=state, epoch=next_epoch(held.epoch))
    changed = with_grants(record, tuple(after if grant is held else grant for grant in grants))
    return Outcome(changed, LeaseState(after.state, after.epoch, after.breaking_to != STABLE))


def next_epoch(epoch: int) -> int:
    """The epoch after a change of the lease."""
    return (epoch + 1) & _MAX_EPOCH


def _somebody_else(record: FileRecord, owners: tuple[int, ...]) -> bool:
    # A set, as many thousands of opens may share a lease.
    own = frozenset(owners)
    return any(touches_leases(entry.granted_access) and entry.owner not in own for entry in record.opens)


def _grantable(record: FileRecord, wish: LeaseWish, owners: tuple[int, ...]) -> int:
    others = [grant for grant in record.grants if grant.lease != wish.lease and grant.state]
    state = wish.state & ~WRITE_CACHING if wish.directory else wish.state
    if state not in LEASE_STATES or any(grant.state & WRITE_CACHING for grant in others):
        return 0
    if state & WRITE_CACHING and (others or _somebody_else(record, owners)):
        state &= ~WRITE_CACHING
    if state & HANDLE_CACHING and any(not grant.lease for grant in others):
        state &= ~HANDLE_CACHING
    if record.locks and not state & WRITE_CACHING and next(iter(record.locks)).offset < wish.end_of_file:
        # Who does not cache the locks must see those of others in time.
        return 0
    return state
