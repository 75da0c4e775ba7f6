"""The rules of caching grants: who may hold one, what breaks it, and how a break ends.

An oplock is a grant of caching rights to one open: level II is reading, exclusive reading and writing, batch also the
handle (MS-FSA 2.1.1.10 Per Oplock). Rights that a holder may have used for what others cannot see yet, writing and the
handle, are given up with an answer, and whoever needs them gone waits for it; reading ends by being told. Sections:
MS-FSA 2.1.4.12 Algorithm to Check for an Oplock Break, 2.1.5.18 Server Requests an Oplock, 2.1.5.19 Server Acknowledges
an Oplock Break. Here are the grants alone; how an open passes beside them is `admission`.
"""

from typing import Final, NamedTuple

from lamina.ntfsa.constants import FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, SYNCHRONIZE
from lamina.ntfsa.record import FileRecord, Grant, Message, Outcome
from lamina.ntfsa.status import NtStatus

READ_CACHING: Final = 1
HANDLE_CACHING: Final = 2
WRITE_CACHING: Final = 4
ANY_CACHING: Final = READ_CACHING | HANDLE_CACHING | WRITE_CACHING
"""What a grant allows, combined; the numbers are those of leases (MS-SMB2 2.2.13.2.8)."""

OPLOCK_LEVEL_NONE: Final = 0x00
OPLOCK_LEVEL_II: Final = 0x01
OPLOCK_LEVEL_EXCLUSIVE: Final = 0x08
OPLOCK_LEVEL_BATCH: Final = 0x09
OPLOCK_LEVEL_LEASE: Final = 0xFF
"""Levels of an oplock (MS-SMB2 2.2.13)."""

BREAK_SECONDS: Final = 35.0
"""How long the holder of a breaking grant has to answer (MS-SMB2 3.3.2.1 Oplock Break Acknowledgment Timer)."""

GRANT_BROKEN: Final = "grant-broken"
"""To a holder: its grant is to be, or (without answer) is, down to the level `detail[0]`; `detail[1]`: answer."""

BREAK_ENDED: Final = "break-ended"
"""To who waits for a break: it has ended."""

STABLE: Final = -1
"""`Grant.breaking_to` while no answer is awaited."""

_STATES: Final = {
    OPLOCK_LEVEL_II: READ_CACHING,
    OPLOCK_LEVEL_EXCLUSIVE: READ_CACHING | WRITE_CACHING,
    OPLOCK_LEVEL_BATCH: ANY_CACHING,
}
_LEVELS: Final = {0: OPLOCK_LEVEL_NONE} | {state: level for level, state in _STATES.items()}
_ANSWERED: Final = HANDLE_CACHING | WRITE_CACHING
_UNSEEN_ACCESS: Final = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE


def takes_part(access: int) -> bool:
    """Whether an open with this access breaks grants, and is in the way of them: not if it asks for attributes only."""
    return bool(access & ~_UNSEEN_ACCESS)


# -- granting ---------------------------------------------------------------------------------------------------------


def request_grant(record: FileRecord, owner: int, address: int, level: int) -> Outcome[int]:
    """Give the open `owner` the oplock `level`, a lesser one, or none: the level that was granted.

    `address` is a new number of the registry: where messages about the grant go. Exclusive and batch are for an open
    that is alone; beside others there is level II, unless somebody may cache writes or locks are held.
    """
    state = _STATES.get(level)
    opens, grants = record.opens, record.grants
    if state is None or record.find_open(owner) is None:
        return Outcome(record, OPLOCK_LEVEL_NONE)
    if grants or (len(opens) > 1 and any(e.owner != owner and takes_part(e.granted_access) for e in opens)):
        state = READ_CACHING
    if state == READ_CACHING and (record.locks or any(grant.state & _ANSWERED for grant in grants)):
        return Outcome(record, OPLOCK_LEVEL_NONE)
    return Outcome(_with_grants(record, (*grants, Grant(owner, address, state))), _LEVELS[state])


def _with_grants(record: FileRecord, grants: tuple[Grant, ...]) -> FileRecord:
    # Not `_replace`, which costs as much as the rest of the rule: many opens ask for an oplock.
    opens, counts, locks, waiters, delete_pending, _, version, write_time = record
    return FileRecord(opens, counts, locks, waiters, delete_pending, grants, version + 1, write_time)


# -- breaking ---------------------------------------------------------------------------------------------------------


class Break(NamedTuple):
    """What breaks: grants with any right of `holding` keep at most `to`. `waiter` is told when it is over.

    `now`: seconds of a clock that all processes share; answers are due BREAK_SECONDS later.
    """

    holding: int
    to: int
    waiter: int
    now: float


class Breaking(NamedTuple):
    """The grants after a break, what is to be told, and until when an answer is awaited (None: it is not)."""

    grants: tuple[Grant, ...]
    messages: tuple[Message, ...]
    deadline: float | None


def break_grants(grants: tuple[Grant, ...], wanted: Break) -> Breaking:
    """Begin, join or end the breaks that `wanted` asks for. A break that nobody answered in time is over."""
    kept: list[Grant] = []
    messages: list[Message] = []
    deadlines: list[float] = []
    for grant in grants:
        if grant.breaking_to != STABLE and grant.deadline <= wanted.now:
            messages += _ended(grant)
        elif not grant.state & wanted.holding:
            kept.append(grant)
        elif grant.state & _ANSWERED:
            after, told = _await_answer(grant, wanted)
            kept.append(after)
            messages += told
            deadlines.append(after.deadline)
        else:
            messages.append(Message(grant.address, GRANT_BROKEN, (OPLOCK_LEVEL_NONE, False)))
    return Breaking(tuple(kept), tuple(messages), min(deadlines, default=None))


def _await_answer(grant: Grant, wanted: Break) -> tuple[Grant, tuple[Message, ...]]:
    if grant.breaking_to != STABLE:
        return grant._replace(waiters=(*grant.waiters, wanted.waiter)), ()
    to = grant.state & wanted.to
    breaking = grant._replace(breaking_to=to, deadline=wanted.now + BREAK_SECONDS, waiters=(wanted.waiter,))
    return breaking, (Message(grant.address, GRANT_BROKEN, (_LEVELS[to], True)),)


def _ended(grant: Grant) -> tuple[Message, ...]:
    return tuple(Message(waiter, BREAK_ENDED) for waiter in grant.waiters)


def break_reading(record: FileRecord) -> Outcome[None]:
    """Data is about to change or be locked: level II ends everywhere, the changer's own too (MS-FSA 2.1.4.12).

    Who may cache writes is alone with the file, so that it is the changer.
    """
    kept = tuple(grant for grant in record.grants if grant.state & _ANSWERED)
    if len(kept) == len(record.grants):
        return Outcome(record, None)
    messages = tuple(
        Message(grant.address, GRANT_BROKEN, (OPLOCK_LEVEL_NONE, False))
        for grant in record.grants
        if not grant.state & _ANSWERED
    )
    return Outcome(_with_grants(record, kept), None, messages)


# -- ending -----------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What an acknowledgment comes to: the status of its response, and the level that is held now."""

    status: NtStatus
    level: int


def acknowledge(record: FileRecord, owner: int, level: int) -> Outcome[Answer]:
    """The holder `owner` has given up what was to break and keeps `level`, or less if less was offered.

    INVALID_DEVICE_STATE where nothing is breaking (MS-SMB2 3.3.5.22.1); INVALID_OPLOCK_PROTOCOL where nothing is held
    any more (MS-FSA 2.1.5.19). A level that no break leads to ends the break with none, and is INVALID_PARAMETER for
    a lease's, else INVALID_OPLOCK_PROTOCOL.
    """
    grant = next((grant for grant in record.grants if grant.owner == owner), None)
    if grant is None:
        return Outcome(record, Answer(NtStatus.INVALID_OPLOCK_PROTOCOL, OPLOCK_LEVEL_NONE))
    if grant.breaking_to == STABLE:
        return Outcome(record, Answer(NtStatus.INVALID_DEVICE_STATE, _LEVELS[grant.state]))
    status, state = NtStatus.SUCCESS, 0
    if level == OPLOCK_LEVEL_II:
        state = grant.breaking_to & READ_CACHING
    elif level == OPLOCK_LEVEL_LEASE:
        status = NtStatus.INVALID_PARAMETER
    elif level != OPLOCK_LEVEL_NONE:
        status = NtStatus.INVALID_OPLOCK_PROTOCOL
    after = (Grant(owner, grant.address, state),) if state else ()
    grants = tuple(kept for each in record.grants for kept in (after if each is grant else (each,)))
    return Outcome(_with_grants(record, grants), Answer(status, _LEVELS[state]), _ended(grant))


def end_overdue(record: FileRecord, now: float) -> Outcome[None]:
    """Take the grants away whose holders have not answered until `now` (MS-SMB2 3.3.6.1)."""
    overdue = [grant for grant in record.grants if grant.breaking_to != STABLE and grant.deadline <= now]
    if not overdue:
        return Outcome(record, None)
    kept = tuple(grant for grant in record.grants if grant not in overdue)
    messages = tuple(message for grant in overdue for message in _ended(grant))
    return Outcome(_with_grants(record, kept), None, messages)


def stop_waiting(record: FileRecord, waiter: int) -> Outcome[None]:
    """`waiter` waits for no break any more; the breaks go on."""
    if not any(waiter in grant.waiters for grant in record.grants):
        return Outcome(record, None)
    grants = tuple(grant._replace(waiters=tuple(w for w in grant.waiters if w != waiter)) for grant in record.grants)
    return Outcome(_with_grants(record, grants), None)


def release_grants(grants: tuple[Grant, ...], owner: int) -> tuple[tuple[Grant, ...], tuple[Message, ...]]:
    """The grants without those of `owner`, whose open closes, and the messages that end its breaks."""
    if len(grants) == 1 and not grants[0].waiters:
        return (() if grants[0].owner == owner else grants), ()
    kept = tuple(grant for grant in grants if grant.owner != owner)
    return kept, tuple(message for grant in grants if grant.owner == owner for message in _ended(grant))
