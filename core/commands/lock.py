"""LOCK (MS-SMB2 3.3.5.14)."""

from lamina.core.open_lookup import open_of
from lamina.core.request import Reply, Request
from lamina.core.wire.lock import decode_lock_request, encode_lock_response
from lamina.ntfsa.lock import LockElement, lock
from lamina.ntfsa.status import NtStatus, NtStatusError

_RESPONSE = encode_lock_response()


def handle(request: Request) -> bytes | Reply:
    """Take or give back byte-range locks; a lock that may wait parks the request."""
    asked = decode_lock_request(request.message)
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "a pipe has no byte ranges")
    assert request.tree is not None
    lock(request.tree.context, open_.nt, [LockElement(*element) for element in asked.locks])
    return _RESPONSE
