"""The rule by which an open passes beside caching grants: break, then share (MS-FSA 2.1.5.1.2).

A batch oplock is broken before sharing is checked, as its holder may only be keeping a closed file open; an exclusive
one only where sharing lets the newcomer in.
"""

from typing import Final, NamedTuple

from lamina.ntfsa.caching import (
    ANY_CACHING,
    HANDLE_CACHING,
    READ_CACHING,
    WRITE_CACHING,
    Break,
    break_grants,
    takes_part,
)
from lamina.ntfsa.record import FileRecord, Message, Outcome
from lamina.ntfsa.sharing import open_file, sharing_conflict
from lamina.ntfsa.status import NtStatus


class Opening(NamedTuple):
    """An open that asks to be let in; arguments of `sharing.open_file`, and the rights that overwriting implies."""

    owner: int
    granted_access: int
    share_access: int
    flags: int
    implied_access: int


class Admission(NamedTuple):
    """SUCCESS, DELETE_PENDING, SHARING_VIOLATION, or PENDING: wait for BREAK_ENDED, at most until `deadline`."""

    status: NtStatus
    deadline: float = 0.0


_PENDING: Final = NtStatus.PENDING


def admit(record: FileRecord, opening: Opening, now: float) -> Outcome[Admission]:
    """Let an open in where somebody may hold grants. What is PENDING has begun the breaks, and is asked again."""
    owner, granted, share, _, implied = opening
    if record.delete_pending:
        return Outcome(record, Admission(NtStatus.DELETE_PENDING))
    access = granted | implied
    if not takes_part(access):
        return _enter(record, opening)
    to = 0 if implied else READ_CACHING
    waiting = _break(record, Break(HANDLE_CACHING, to, owner, now))
    if waiting.result.status is _PENDING:
        return waiting
    record = waiting.record
    if sharing_conflict(record, access, share):
        return Outcome(record, Admission(NtStatus.SHARING_VIOLATION), waiting.messages)
    breaking = _break(record, Break(ANY_CACHING if implied else WRITE_CACHING, to, owner, now))
    messages = waiting.messages + breaking.messages
    if breaking.result.status is _PENDING:
        return Outcome(breaking.record, breaking.result, messages)
    return _enter(breaking.record, opening, messages)


def _break(record: FileRecord, wanted: Break) -> Outcome[Admission]:
    grants, messages, deadline = break_grants(record.grants, wanted)
    if grants != record.grants:
        record = record._replace(grants=grants, version=record.version + 1)
    status = NtStatus.SUCCESS if deadline is None else _PENDING
    return Outcome(record, Admission(status, deadline or 0.0), messages)


def _enter(record: FileRecord, opening: Opening, messages: tuple[Message, ...] = ()) -> Outcome[Admission]:
    outcome = open_file(record, opening.owner, opening.granted_access, opening.share_access, opening.flags, True)
    return Outcome(outcome.record, Admission(outcome.result), messages)
