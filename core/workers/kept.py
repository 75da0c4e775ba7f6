"""Durable opens that outlive their worker process: written down while it lives, taken up by the next in its place.

A client whose worker was killed comes back as one that has lost its connection, and finds what it had open (MS-SMB2
3.3.5.9.7, 3.3.5.9.12). Opens of named streams are not among them.
"""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lamina.core.persistent_opens import record_of
from lamina.core.recovery import NO_SESSION, state_of
from lamina.core.session import Absent, SmbOpen, SmbSession, SmbTree
from lamina.ntfsa.durability.open_record import OpenRecord, decode, encode
from lamina.ntfsa.durability.resuming import resume
from lamina.ntfsa.opening.sharing import close_file
from lamina.ntfsa.workers.kept_opens import KeptOpen, forget_open, keep_open, kept_by
from lamina.ntfsa.workers.shared_state import SharedState

if TYPE_CHECKING:
    from lamina.core.runtime import Runtime
    from lamina.core.server_core import SmbServer
    from lamina.core.share import Share
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume

log = logging.getLogger(__name__)


class KeptForNext:
    """What this worker writes down of its durable opens (see `DurableOpens.kept`)."""

    def __init__(self, state: SharedState) -> None:
        self._state = state

    def enter(self, open_: SmbOpen) -> None:
        """An open is known beyond its session from now on."""
        nt = open_.nt
        if open_.durable is None or open_.durable.kind is None or nt is None or nt.stream:
            return
        address = _address(nt)
        if address:
            form = encode(record_of(open_, nt))
            keep_open(self._state, KeptOpen(open_.file_id, nt.owner, nt.file_key, address, form))

    def forget(self, open_: SmbOpen) -> None:
        """An open is closed."""
        if open_.durable is not None and open_.durable.kind is not None:
            forget_open(self._state, open_.file_id)

    def renamed(self, opens: Iterable[SmbOpen], volume: "NtVolume", path: str) -> None:
        """What is `path` now had another name."""
        for open_ in list(opens):
            if open_.nt is not None and open_.nt.volume is volume and open_.nt.path.startswith(path):
                self.enter(open_)


def _address(nt: "NtOpen") -> int:
    if nt.lease is not None:
        return nt.lease.address
    return nt.oplock.address if nt.oplock is not None else 0


def take_up(runtime: "Runtime", state: SharedState) -> int:
    """Go on with the durable opens of the worker that was here before; how many. Runs as a request."""
    found = kept_by(state, state.number)
    taken = []
    for kept in found:
        open_ = _taken_up(runtime, kept)
        if open_ is None:
            forget_open(state, kept.open_id)
        else:
            taken.append(open_)
    for open_ in taken:
        runtime.server.durables.begin_waiting(open_)
    if found:
        log.info("%d of %d durable opens of the worker before this one wait for their clients", len(taken), len(found))
    return len(taken)


def _taken_up(runtime: "Runtime", kept: KeptOpen) -> SmbOpen | None:
    record = decode(kept.form)
    share = runtime.shares().get(record.promise.share)
    nt = None
    try:
        if share is not None and share.volume is not None:
            nt = resume(share.volume, kept.key, kept.owner, record.state)
        else:
            runtime.registry.update(kept.key, close_file, kept.owner)
    except OSError as error:
        log.warning("the durable open of %r is lost: %s", record.state.path, error.strerror)
    if nt is None or share is None:
        return None
    return put_in_place(runtime.server, share, nt, record)


def put_in_place(server: "SmbServer", share: "Share", nt: "NtOpen", record: OpenRecord) -> SmbOpen:
    """An open that was made in another process, known to the server of this one."""
    open_id = record.promise.open_id
    tree = SmbTree(0, SmbSession(NO_SESSION, Absent(record.promise.client_guid)), share)
    open_ = SmbOpen(open_id, tree, nt)
    locks = nt.volume.registry.read(nt.file_key).locks
    open_.lock_count = sum(1 for lock in locks if lock.owner == nt.owner)
    open_.lock_sequences = dict(record.promise.lock_sequences)
    server.reserve_file_id(open_id)
    server.durables.enter(open_, state_of(record))
    return open_
