"""The rule by which an open passes beside caching grants: break, then share (MS-FSA 2.1.5.1.2).

A batch oplock is broken before sharing is checked, as its holder may only be keeping a closed file open. Leases that
cache handles are asked where sharing is in the way; what remains is broken only where sharing lets the newcomer in.
"""

from typing import NamedTuple

from lamina.ntfsa.grants.breaking import Break, break_and_wait
from lamina.ntfsa.grants.caching import (
    OPEN,
    OPEN_BATCH,
    OVERWRITE,
    OVERWRITE_BATCH,
    SHARING_CONFLICT,
    Operation,
    takes_part,
    touches_leases,
)
from lamina.ntfsa.opening.sharing import open_file, sharing_conflict
from lamina.ntfsa.record import FileRecord, Message, Outcome
from lamina.ntfsa.status import NtStatus


class Opening(NamedTuple):
    """An open that asks to be let in; arguments of `sharing.open_file`, and the rights that overwriting implies.

    `lease`: the lease it will share, which it does not break; b"" is none.
    """

    owner: int
    granted_access: int
    share_access: int
    flags: int
    implied_access: int
    lease: bytes = b""


class Admission(NamedTuple):
    """SUCCESS, DELETE_PENDING, SHARING_VIOLATION, or PENDING: wait for BREAK_ENDED, at most until `deadline`."""

    status: NtStatus
    deadline: float = 0.0


def admit(record: FileRecord, opening: Opening, now: float) -> Outcome[Admission]:
    """Let an open in where somebody may hold grants. What is PENDING has begun the breaks, and is asked again."""
    owner, granted, share, flags, implied, _ = opening
    if record.delete_pending:
        return Outcome(record, Admission(NtStatus.DELETE_PENDING))
    access = granted | implied
    if takes_part(access):
        step = _Step(record, opening, now)
        if not step.passes(OVERWRITE_BATCH if implied else OPEN_BATCH):
            return step.pending()
        if sharing_conflict(step.record, access, share):
            if not step.passes(SHARING_CONFLICT):
                return step.pending()
            return Outcome(step.record, Admission(NtStatus.SHARING_VIOLATION), step.messages)
        if not step.passes(OVERWRITE if implied else OPEN):
            return step.pending()
        record, messages = step.record, step.messages
    else:
        messages = ()
    outcome = open_file(record, owner, granted, share, flags, True)
    return Outcome(outcome.record, Admission(outcome.result), messages)


class _Step:
    """The record on its way through the operations that an open is, with what is to be told until now."""

    __slots__ = ("_deadline", "_now", "_opening", "messages", "record")

    def __init__(self, record: FileRecord, opening: Opening, now: float) -> None:
        self.record = record
        self.messages: tuple[Message, ...] = ()
        self._opening = opening
        self._now = now
        self._deadline: float | None = None

    def passes(self, operation: Operation) -> bool:
        opening = self._opening
        owner, granted, _, _, implied, lease = opening
        wanted = Break(operation, owner, lease, owner, self._now, touches_leases(granted | implied))
        self.record, self._deadline, messages = break_and_wait(self.record, wanted)
        self.messages += messages
        return self._deadline is None

    def pending(self) -> Outcome[Admission]:
        assert self._deadline is not None
        return Outcome(self.record, Admission(NtStatus.PENDING, self._deadline), self.messages)
