"""Recovery: a share that is connected goes on with the persistent opens that were interrupted (MS-SMB2 3.3.3).

Before anybody can open anything all opens are back, with what they held, and wait for their clients. One whose file is
gone is dropped with a line in the log; a store that cannot be read stops the share.
"""

import logging
from collections.abc import Container
from typing import TYPE_CHECKING, Final

from lamina.core.durable_state import DurableState
from lamina.core.session import Absent, SmbOpen, SmbSession, SmbTree
from lamina.core.wire.durable_contexts import AppInstanceVersion
from lamina.ntfsa.durability import keeping
from lamina.ntfsa.durability.open_record import OpenRecord, Promise
from lamina.ntfsa.status import NtStatusError

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer
    from lamina.core.share import Share

log = logging.getLogger(__name__)

NO_SESSION: Final = 0
"""The session id of opens whose client has not come back."""


def recover(server: "SmbServer", share: "Share", known: Container[int] = frozenset()) -> int:
    """Put the persistent opens of a share back, but for those `known`; how many there are. Runs as a request.

    Raises `keeping.StoreError` where what is kept of them cannot be used.
    """
    if share.volume is None or not keeping.keeps_opens(share.volume):
        return 0
    found = [
        record
        for record in keeping.kept_records(share.volume)
        if server.durables.find(record.promise.open_id) is None and record.promise.open_id not in known
    ]
    back = [(open_, record) for record in found if (open_ := _put_back(server, share, record)) is not None]
    for open_, record in back:
        assert open_.nt is not None
        try:
            keeping.give_rights(open_.tree.context, open_.nt, record.state)
        except NtStatusError as error:
            log.warning("share %s: the open of %r is back without its rights to cache: %s", share.name, open_.nt, error)
        server.durables.begin_waiting(open_)
    if found:
        log.info("share %s: %d of %d persistent opens wait for their clients", share.name, len(back), len(found))
    return len(back)


def _put_back(server: "SmbServer", share: "Share", record: OpenRecord) -> SmbOpen | None:
    assert share.volume is not None
    promise = record.promise
    tree = SmbTree(0, SmbSession(NO_SESSION, Absent(promise.client_guid)), share)
    try:
        nt = keeping.put_back(tree.context, share.volume, record.state)
    except NtStatusError as error:
        log.warning("share %s: the persistent open of %r is lost: %s", share.name, record.state.path, error)
        keeping.forget(share.volume, promise.open_id)
        return None
    open_ = SmbOpen(promise.open_id, tree, nt)
    open_.lock_count = len(record.state.locks)
    open_.lock_sequences = dict(promise.lock_sequences)
    server.reserve_file_id(promise.open_id)
    server.durables.enter(open_, state_of(record))
    return open_


def state_of(record: OpenRecord) -> DurableState:
    """What a kept open was promised."""
    promise: Promise = record.promise
    state = DurableState(promise.version, promise.owner, promise.client_guid, promise.create_guid)
    state.kind, state.seconds = promise.kind, promise.seconds
    state.app_instance = promise.app_instance
    state.app_version = None if promise.app_version is None else AppInstanceVersion(*promise.app_version)
    state.cookie = record.state.cookie
    return state
