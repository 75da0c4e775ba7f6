"""CHANGE_NOTIFY (MS-SMB2 3.3.5.19)."""

from lamina.core.open_lookup import open_of
from lamina.core.request import Reply, Request
from lamina.core.wire.change_notify import decode_change_notify_request
from lamina.ntfsa.status import NtStatus, NtStatusError


def handle(request: Request) -> bytes | Reply:
    """Refuse: a server whose object store does not report changes answers NOT_SUPPORTED."""
    asked = decode_change_notify_request(request.message)
    open_of(request, asked.persistent, asked.volatile)
    raise NtStatusError(NtStatus.NOT_SUPPORTED, "change notification is not available")
