"""LOCK (MS-SMB2 3.3.5.14)."""

from typing import Final

from lamina.core.open_lookup import open_of
from lamina.core.persistent_opens import is_persistent, save
from lamina.core.request import Reply, Request
from lamina.core.session import SessionState, SmbOpen
from lamina.core.settings import Dialect
from lamina.core.wire.constants import GLOBAL_CAP_MULTI_CHANNEL, LOCKFLAG_UNLOCK
from lamina.core.wire.lock import decode_lock_request, encode_lock_response
from lamina.ntfsa.durability.rules import MAX_PERSISTENT_LOCKS
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.status import NtStatus, NtStatusError

_RESPONSE = encode_lock_response()
_BUCKETS: Final = 64
"""Lock sequences are remembered for bucket numbers 1 to 64 (3.3.1.10 Open.LockSequenceArray)."""


def handle(request: Request) -> bytes | Reply:
    """Take or give back byte-range locks; a lock that may wait parks the request."""
    asked = decode_lock_request(request.message)
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "a pipe has no byte ranges")
    assert request.tree is not None
    bucket, number = asked.sequence_index, asked.sequence_number
    if not 0 < bucket <= _BUCKETS or not _verifies_sequences(request, open_):
        bucket = 0
    if bucket and _done_before(open_, bucket, number):
        save(open_)
        return _RESPONSE
    elements = [LockElement(*element) for element in asked.locks]
    if bucket and open_.durable is not None and open_.durable.kept is not None:
        open_.durable.kept.intend(open_, bucket, number)
    _bounded_lock(request, open_, open_.nt, elements)
    if bucket:
        open_.lock_sequences[bucket] = number
    if open_.durable is not None:
        _keep(request, open_, open_.nt, elements, bucket)
    return _RESPONSE


def _keep(request: Request, open_: SmbOpen, nt: NtOpen, elements: list[LockElement], bucket: int) -> None:
    """Have the record of a persistent open say it; locks that cannot be kept are given back, and not remembered."""
    try:
        save(open_)
    except BaseException:
        if not elements[0].flags & LOCKFLAG_UNLOCK:
            open_.lock_sequences.pop(bucket, None)
            unlocks = [element._replace(flags=LOCKFLAG_UNLOCK) for element in elements]
            if not nt.closed:
                _bounded_lock(request, open_, nt, unlocks)
            # Whether the store has it is not known.
            request.connection.server.durables.save_sharing_soon(nt)
        raise


def _bounded_lock(request: Request, open_: SmbOpen, nt: NtOpen, elements: list[LockElement]) -> None:
    assert request.tree is not None
    session = open_.tree.session
    unlocks = elements[0].flags & LOCKFLAG_UNLOCK
    if not unlocks and session.state is SessionState.EXPIRED:
        # Only what gives back is served until the user has proved himself anew (smb2.session.expire2s).
        raise NtStatusError(NtStatus.NETWORK_SESSION_EXPIRED)
    limit = request.connection.server.settings.limits.locks_per_session
    if not unlocks and session.lock_count + len(elements) > limit:
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many locks for one session")
    if not unlocks and open_.lock_count + len(elements) > MAX_PERSISTENT_LOCKS and is_persistent(open_):
        raise NtStatusError(NtStatus.INSUFFICIENT_RESOURCES, "too many locks for one persistent open")
    lock(request.tree.context, nt, elements)
    if not nt.closed:
        # Open.LockCount; unlocks that were done before one that failed are not told, and counted until the close.
        change = -len(elements) if unlocks else len(elements)
        open_.lock_count += change
        session.lock_count += change


def _verifies_sequences(request: Request, open_: SmbOpen) -> bool:
    """Whether a client may have to send a lock again, so that it must not be taken twice.

    So it may where its open outlives the connection, and where another channel does (3.3.5.14).
    """
    if open_.durable is not None and open_.durable.kind is not None:
        return True
    connection = request.connection
    return connection.dialect >= Dialect.SMB_3_0 and bool(connection.server_capabilities & GLOBAL_CAP_MULTI_CHANNEL)


def _done_before(open_: SmbOpen, bucket: int, number: int) -> bool:
    """Whether this very request has succeeded already; any other for the bucket makes the open forget."""
    if open_.lock_sequences.get(bucket) == number:
        return True
    open_.lock_sequences.pop(bucket, None)
    return False
