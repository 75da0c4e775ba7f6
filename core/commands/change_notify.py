"""CHANGE_NOTIFY (MS-SMB2 3.3.5.19)."""

from typing import Final

from lamina.core.open_lookup import check_charge, open_of
from lamina.core.request import Reply, Request
from lamina.core.wire.change_notify import decode_change_notify_request, encode_change_notify_response
from lamina.ntfsa.notify.change_notify import change_notify
from lamina.ntfsa.status import NtStatus, NtStatusError

WATCH_TREE: Final = 0x0001
"""SMB2_WATCH_TREE (2.2.35); the other bits mean nothing."""


def handle(request: Request) -> bytes | Reply:
    """Wait for a change in a directory, or tell at once what has happened since the last request."""
    asked = decode_change_notify_request(request.message)
    check_charge(request, asked.output_buffer_length)
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a pipe is not a directory")
    assert request.tree is not None
    changes = change_notify(
        request.tree.context,
        open_.nt,
        asked.completion_filter,
        bool(asked.flags & WATCH_TREE),
        asked.output_buffer_length,
    )
    return Reply(changes.status, encode_change_notify_response(changes.data))
