"""Durable and persistent opens that outlive their worker: written down while it lives, and taken up by the next.

A client whose worker was killed comes back as one that has lost its connection, and finds what it had open (MS-SMB2
3.3.5.9.7, 3.3.5.9.12). Nothing of that is on stable storage, where the records of persistent opens are beside it: they
outlive the server, too.
"""

import logging
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

from lamina.core.persistent_opens import is_persistent, record_of
from lamina.core.recovery import NO_SESSION, state_of
from lamina.core.session import Absent, SmbOpen, SmbSession, SmbTree
from lamina.ntfsa.durability.keeping import forget as forget_record
from lamina.ntfsa.durability.open_record import OpenRecord, decode, encode
from lamina.ntfsa.durability.resuming import close_records, give_up_what_breaks, resume
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.workers.kept_opens import (
    Intent,
    KeptOpen,
    forget_open,
    intend,
    intent_of,
    keep_open,
    kept_by,
)
from lamina.ntfsa.workers.shared_state import SharedState

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer
    from lamina.core.share import Share
    from lamina.core.workers.crew import Crew
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.registry import Registry
    from lamina.ntfsa.volume import NtVolume

log = logging.getLogger(__name__)


class KeptForNext:
    """What this worker writes down of its opens (see `DurableOpens.kept`)."""

    def __init__(self, state: SharedState) -> None:
        self._state = state

    def enter(self, open_: SmbOpen) -> None:
        """An open is known beyond its session from now on, or something in it has changed."""
        if open_.durable is not None and open_.durable.kind is not None and open_.nt is not None:
            self.note(open_, encode(record_of(open_, open_.nt)))

    def note(self, open_: SmbOpen, form: bytes) -> None:
        """The same with the form of its record."""
        assert open_.nt is not None
        kept = kept_as(open_, open_.nt, form)
        if kept is not None:
            keep_open(self._state, kept)

    def intend(self, open_: SmbOpen, bucket: int, number: int) -> None:
        """An open's locks are about to change, by a request that its client sends again if it has no answer."""
        nt = open_.nt
        if nt is not None and open_.durable is not None and open_.durable.kind is not None:
            intend(self._state, open_.file_id, Intent(bucket, number, _locks(nt.volume.registry, nt)))

    def forget(self, open_: SmbOpen) -> None:
        """An open is closed."""
        if open_.durable is not None and open_.durable.kind is not None:
            forget_open(self._state, open_.file_id)

    def renamed(self, opens: Iterable[SmbOpen], volume: "NtVolume", path: str) -> None:
        """What is `path` now had another name."""
        for open_ in list(opens):
            if open_.nt is not None and open_.nt.volume is volume and open_.nt.path.startswith(path):
                self.enter(open_)


def kept_as(open_: SmbOpen, nt: "NtOpen", form: bytes) -> KeptOpen | None:
    """What is written down of an open; None for a durable one that has lost what it rested on."""
    address = _address(nt)
    assert open_.durable is not None
    if not address and open_.durable.kind is Kind.DURABLE:
        return None
    names = nt.volume.awaited if is_persistent(open_) else None
    name = names.known_as(nt.path) if names is not None else b""
    return KeptOpen(open_.file_id, nt.owner, nt.file_key, address, form, name)


def _address(nt: "NtOpen") -> int:
    if nt.lease is not None:
        return nt.lease.address
    return nt.oplock.address if nt.oplock is not None else 0


def _locks(registry: "Registry", nt: "NtOpen") -> int:
    return sum(1 for lock in registry.read(nt.file_key).locks if lock.owner == nt.owner)


def take_up(crew: "Crew", server: "SmbServer", shares: "Mapping[str, Share]") -> int:
    """Go on with the opens of these shares that are this worker's and that it does not know; how many.

    Runs as a request.
    """
    found = [
        (kept, share, record)
        for kept in kept_by(crew.state, crew.number)
        if server.durables.find(kept.open_id) is None
        and (share := shares.get((record := decode(kept.form)).promise.share)) is not None
    ]
    taken = [open_ for each in found if (open_ := _taken_up(crew, server, *each)) is not None]
    for open_ in taken:
        begin_waiting(server, open_)
    if found:
        log.info("%d of %d opens of the process before this one wait for their clients", len(taken), len(found))
    return len(taken)


def close_others(crew: "Crew", shares: Container[str]) -> None:
    """Close the opens that are this worker's in shares that are not served any more."""
    for kept in kept_by(crew.state, crew.number):
        if decode(kept.form).promise.share not in shares:
            close_records(crew.registry, kept.key, kept.owner)
            forget_open(crew.state, kept.open_id)


def _taken_up(crew: "Crew", server: "SmbServer", kept: KeptOpen, share: "Share", record: OpenRecord) -> SmbOpen | None:
    nt = None
    if share.volume is None:
        close_records(crew.registry, kept.key, kept.owner)
        forget_open(crew.state, kept.open_id)
        return None
    try:
        nt = resume(share.volume, kept.key, kept.owner, record.state, record.promise.kind)
    except (OSError, NtStatusError) as error:
        log.warning("the %s open of %r is lost: %s", record.promise.kind.value, record.state.path, error)
    if nt is not None:
        return put_in_place(server, share, nt, record, intent_of(crew.state, kept.open_id))
    if record.promise.kind is Kind.PERSISTENT:
        # First where it would come back from.
        forget_record(share.volume, kept.open_id)
    forget_open(crew.state, kept.open_id)
    return None


def put_in_place(
    server: "SmbServer", share: "Share", nt: "NtOpen", record: OpenRecord, intent: Intent | None = None
) -> SmbOpen:
    """An open that was made in another process, known to the server of this one.

    `intent`: what was being done then, which has been done if the open's locks are others.
    """
    open_id = record.promise.open_id
    tree = SmbTree(0, SmbSession(NO_SESSION, Absent(record.promise.client_guid)), share)
    open_ = SmbOpen(open_id, tree, nt)
    open_.lock_count = _locks(nt.volume.registry, nt)
    open_.lock_sequences = dict(record.promise.lock_sequences)
    if intent is not None:
        open_.lock_sequences.pop(intent.bucket, None)
        if intent.locks != open_.lock_count:
            open_.lock_sequences[intent.bucket] = intent.number
    server.reserve_file_id(open_id)
    server.durables.enter(open_, state_of(record))
    return open_


def begin_waiting(server: "SmbServer", open_: SmbOpen) -> None:
    """An open that was put in place waits for its client from now on, who is not there to answer a break."""
    server.durables.begin_waiting(open_)
    if open_.nt is not None and open_.durable is not None and open_.durable.kind is not Kind.DURABLE:
        give_up_what_breaks(open_.nt)
