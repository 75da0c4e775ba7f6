"""The rules by which caching rights end: a break begins, is answered, runs out of time, or the holder closes.

A grant that only reads is told and has lost what it lost. Any other is told, keeps all of its rights until its holder
has answered, and whoever cannot go on before that waits. What breaks a breaking grant further is kept as what the
break must come to in the end (`Grant.required`), and follows in steps: first everything but reading, then reading, so
that the holder writes back what it has before it forgets it. Sections: MS-FSA 2.1.5.18.3 and 2.1.5.19, MS-SMB2
3.3.4.6, 3.3.4.7, 3.3.5.22.1, 3.3.5.22.2, 3.3.6.1 and 3.3.6.5.
"""

from bisect import bisect_left
from operator import is_
from typing import Final, NamedTuple

from lamina.ntfsa.grants.caching import (
    ANSWERED,
    BREAK_SECONDS,
    OPLOCK_LEVEL_II,
    OPLOCK_LEVEL_LEASE,
    OPLOCK_LEVEL_NONE,
    READ_CACHING,
    Operation,
    remaining,
)
from lamina.ntfsa.grants.granting import next_epoch, with_grants
from lamina.ntfsa.record import STABLE, FileRecord, Grant, Message, Outcome
from lamina.ntfsa.status import NtStatus

GRANT_BROKEN: Final = "grant-broken"
"""To a holder. `detail`: the rights it has, those it is to keep, the lease's epoch, when it must answer (0.0: not)."""

BREAK_ENDED: Final = "break-ended"
"""To who waits for a break: it has ended."""


class Break(NamedTuple):
    """Somebody does what breaks grants: the open `owner`, under the lease `lease` (b"": none).

    `waiter` is told when what it must wait for is over. `now`: seconds of a clock that all processes share. What does
    not touch leases breaks oplocks only.
    """

    operation: Operation
    owner: int
    lease: bytes
    waiter: int
    now: float
    touches_leases: bool = True


class Breaking(NamedTuple):
    """The grants after a break, what is to be told, and until when an answer is awaited (None: it is not)."""

    grants: tuple[Grant, ...]
    messages: tuple[Message, ...]
    deadline: float | None


def break_grants(grants: tuple[Grant, ...], wanted: Break) -> Breaking:
    """Begin, widen, join or end the breaks that `wanted` asks for. A break that nobody answered in time is over."""
    kept: list[Grant] = []
    messages: list[Message] = []
    deadlines: list[float] = []
    for grant in grants:
        after, deadline = grant, None
        told: tuple[Message, ...] = ()
        if grant.breaking_to != STABLE and grant.deadline <= wanted.now:
            after, told = _given_up(grant)
        elif _concerns(grant, wanted):
            after, told, deadline = _broken(grant, wanted)
        messages += told
        if deadline is not None:
            deadlines.append(deadline)
        if after.state or after.lease:
            kept.append(after)
    return Breaking(tuple(kept), tuple(messages), min(deadlines, default=None))


def _concerns(grant: Grant, wanted: Break) -> bool:
    operation = wanted.operation
    if not grant.state & (operation.lost | operation.waits):
        return False
    if grant.lease:
        return grant.lease != wanted.lease and wanted.touches_leases and not operation.batch
    if operation.batch and grant.state & ANSWERED != ANSWERED:
        return False
    if wanted.owner in grant.owners:
        return operation.own_reading and not grant.state & ANSWERED
    return True


def _broken(grant: Grant, wanted: Break) -> tuple[Grant, tuple[Message, ...], float | None]:
    operation = wanted.operation
    told: tuple[Message, ...] = ()
    to = remaining(bool(grant.lease), grant.state, operation.lost)
    if grant.breaking_to == STABLE:
        if not grant.state & ANSWERED:
            return _reduced(grant, to)
        grant = grant._replace(
            breaking_to=to, required=to, deadline=wanted.now + BREAK_SECONDS, epoch=next_epoch(grant.epoch)
        )
        told = (_told(grant, to),)
    else:
        grant = grant._replace(required=grant.required & to)
    if not grant.state & operation.waits:
        return grant, told, None
    return grant._replace(waiters=_with_waiter(grant.waiters, wanted.waiter)), told, grant.deadline


def _with_waiter(waiters: tuple[int, ...], waiter: int) -> tuple[int, ...]:
    # In order, so that one of many thousands is found at once when it gives up. New ones have the highest numbers.
    if not waiters or waiters[-1] < waiter:
        return (*waiters, waiter)
    at = bisect_left(waiters, waiter)
    return waiters if waiters[at] == waiter else (*waiters[:at], waiter, *waiters[at:])


def _without_waiter(waiters: tuple[int, ...], waiter: int) -> tuple[int, ...]:
    at = bisect_left(waiters, waiter)
    return (*waiters[:at], *waiters[at + 1 :]) if at < len(waiters) and waiters[at] == waiter else waiters


def _reduced(grant: Grant, to: int) -> tuple[Grant, tuple[Message, ...], None]:
    grant = grant._replace(epoch=next_epoch(grant.epoch))
    return grant._replace(state=to), (_told(grant, to),), None


def _told(grant: Grant, to: int) -> Message:
    return Message(grant.address, GRANT_BROKEN, (grant.state, to, grant.epoch, grant.deadline))


def _ended(grant: Grant) -> tuple[Message, ...]:
    return tuple(Message(waiter, BREAK_ENDED) for waiter in grant.waiters)


def _given_up(grant: Grant) -> tuple[Grant, tuple[Message, ...]]:
    return grant._replace(state=0, breaking_to=STABLE, required=0, deadline=0.0, waiters=()), _ended(grant)


def others_cache(grants: tuple[Grant, ...], owner: int, lease: bytes) -> bool:
    """Whether anybody but the operator may have something cached; level II of the operator's own counts, too."""
    for grant in grants:
        if grant.state and (
            grant.lease != lease if grant.lease else owner not in grant.owners or not grant.state & ANSWERED
        ):
            return True
    return False


def break_now(record: FileRecord, operation: Operation, owner: int, lease: bytes, now: float) -> Outcome[None]:
    """Break what `operation` breaks, for somebody who waits for nobody."""
    wanted = Break(operation, owner, lease, 0, now)
    if not any(_concerns(grant, wanted) for grant in record.grants):
        return Outcome(record, None)
    outcome = break_and_wait(record, wanted._replace(operation=operation._replace(waits=0)))
    return Outcome(outcome.record, None, outcome.messages)


def break_one(record: FileRecord, lease: bytes, operation: Operation, now: float) -> Outcome[None]:
    """Break one lease of those on a file, for nobody who waits."""
    grant = next((grant for grant in record.grants if grant.lease == lease), None)
    if grant is None or not grant.state & operation.lost:
        return Outcome(record, None)
    after, messages, _ = _broken(grant, Break(operation, 0, b"", 0, now))
    grants = tuple(after if each is grant else each for each in record.grants)
    return Outcome(with_grants(record, grants), None, messages)


def break_and_wait(record: FileRecord, wanted: Break) -> Outcome[float | None]:
    """Break what `wanted` says; until when its waiter must wait for BREAK_ENDED and ask again, or None."""
    grants, messages, deadline = break_grants(record.grants, wanted)
    if grants == record.grants:
        return Outcome(record, deadline)
    return Outcome(with_grants(record, grants), deadline, messages)


# -- ending -----------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What an acknowledgment comes to: the status of its response, and the rights that are held now."""

    status: NtStatus
    state: int


def acknowledge_oplock(record: FileRecord, owner: int, level: int, now: float) -> Outcome[Answer]:
    """The holder `owner` has given up what was to break and keeps `level`, or less if less was offered.

    INVALID_DEVICE_STATE where nothing is breaking (MS-SMB2 3.3.5.22.1); INVALID_OPLOCK_PROTOCOL where nothing is held
    any more (MS-FSA 2.1.5.19). A level that no break leads to ends the break with none, and is INVALID_PARAMETER for
    a lease's, else INVALID_OPLOCK_PROTOCOL.
    """
    grant = next((grant for grant in record.grants if owner in grant.owners and not grant.lease), None)
    if grant is None:
        return Outcome(record, Answer(NtStatus.INVALID_OPLOCK_PROTOCOL, 0))
    if grant.breaking_to == STABLE:
        return Outcome(record, Answer(NtStatus.INVALID_DEVICE_STATE, grant.state))
    status, state = NtStatus.SUCCESS, 0
    if level == OPLOCK_LEVEL_II:
        state = grant.breaking_to & READ_CACHING
    elif level == OPLOCK_LEVEL_LEASE:
        status = NtStatus.INVALID_PARAMETER
    elif level != OPLOCK_LEVEL_NONE:
        status = NtStatus.INVALID_OPLOCK_PROTOCOL
    return _answer(record, grant, state, now, status)


def acknowledge_lease(record: FileRecord, lease: bytes, state: int, now: float) -> Outcome[Answer]:
    """The client has given up what was to break of `lease` and keeps the rights `state` (MS-SMB2 3.3.5.22.2).

    OBJECT_NAME_NOT_FOUND where there is no such lease, UNSUCCESSFUL where it is not breaking, REQUEST_NOT_ACCEPTED
    for more than was offered; the break then goes on.
    """
    grant = next((grant for grant in record.grants if grant.lease == lease), None)
    if grant is None:
        return Outcome(record, Answer(NtStatus.OBJECT_NAME_NOT_FOUND, 0))
    if grant.breaking_to == STABLE:
        return Outcome(record, Answer(NtStatus.UNSUCCESSFUL, grant.state))
    if state & ~grant.breaking_to:
        return Outcome(record, Answer(NtStatus.REQUEST_NOT_ACCEPTED, grant.state))
    return _answer(record, grant, state if state & READ_CACHING else 0, now, NtStatus.SUCCESS)


def _answer(record: FileRecord, grant: Grant, state: int, now: float, status: NtStatus) -> Outcome[Answer]:
    after, messages = _next_step(grant._replace(state=state, required=grant.required & state), now)
    kept = (after,) if after.state or after.lease else ()
    grants = tuple(each for one in record.grants for each in (kept if one is grant else (one,)))
    return Outcome(with_grants(record, grants), Answer(status, state), messages)


def _next_step(grant: Grant, now: float) -> tuple[Grant, tuple[Message, ...]]:
    # What the holder still has beyond what the break must come to, it gives up next.
    state, required = grant.state, grant.required
    if state & ANSWERED & ~required:
        to = required | READ_CACHING
        grant = grant._replace(breaking_to=to, deadline=now + BREAK_SECONDS)
        return grant, (_told(grant, to),)
    messages = _ended(grant)
    grant = grant._replace(breaking_to=STABLE, required=0, deadline=0.0, waiters=())
    if state != required:
        messages = (_told(grant, required), *messages)
    return grant._replace(state=required), messages


def end_overdue(record: FileRecord, now: float) -> Outcome[None]:
    """Take the grants away whose holders have not answered until `now` (MS-SMB2 3.3.6.1, 3.3.6.5)."""
    if not any(grant.breaking_to != STABLE and grant.deadline <= now for grant in record.grants):
        return Outcome(record, None)
    kept: list[Grant] = []
    messages: tuple[Message, ...] = ()
    for grant in record.grants:
        if grant.breaking_to == STABLE or grant.deadline > now:
            kept.append(grant)
            continue
        after, told = _given_up(grant)
        messages += told
        if after.lease:
            kept.append(after)
    return Outcome(with_grants(record, tuple(kept)), None, messages)


def stop_waiting(record: FileRecord, waiter: int) -> Outcome[None]:
    """`waiter` waits for no break any more; the breaks go on."""
    grants = tuple(
        grant._replace(waiters=left) if (left := _without_waiter(grant.waiters, waiter)) is not grant.waiters else grant
        for grant in record.grants
    )
    if all(map(is_, grants, record.grants)):
        return Outcome(record, None)
    return Outcome(with_grants(record, grants), None)


def release_grants(grants: tuple[Grant, ...], owner: int) -> tuple[tuple[Grant, ...], tuple[Message, ...]]:
    """The grants without `owner`, whose open closes, and the messages that end the breaks of those that end."""
    kept: list[Grant] = []
    messages: tuple[Message, ...] = ()
    for grant in grants:
        if owner not in grant.owners:
            kept.append(grant)
        elif len(grant.owners) > 1:
            at = grant.owners.index(owner)
            kept.append(grant._replace(owners=(*grant.owners[:at], *grant.owners[at + 1 :])))
        else:
            messages += _ended(grant)
    return tuple(kept), messages
