"""OPLOCK_BREAK: the notification to a holder (MS-SMB2 3.3.4.6) and its acknowledgment (3.3.5.22.1).

Leases are not granted yet, so that none can be breaking.
"""

from functools import partial

from lamina.core.open_lookup import open_of
from lamina.core.request import Reply, Request
from lamina.core.session import SmbOpen
from lamina.core.wire.constants import Command
from lamina.core.wire.oplock_break import OplockBreak, decode_oplock_break_request, encode_oplock_break
from lamina.ntfsa.oplocks import acknowledge_break
from lamina.ntfsa.status import NtStatus, NtStatusError


def listen(open_: SmbOpen) -> None:
    """Tell the client of this open when its oplock breaks."""
    assert open_.nt is not None
    if open_.nt.oplock is not None:
        open_.nt.oplock.listener = partial(_notify, open_)


def _notify(open_: SmbOpen, level: int, answer_awaited: bool) -> bool:
    """Send the notification on one of the session's connections; False where there is none."""
    tree = open_.tree
    session = tree.session
    body = encode_oplock_break(OplockBreak(open_.file_id, open_.file_id, level))
    sealed = session if session.encrypt_data or tree.share.encrypt else None
    return any(
        connection.send_notification(Command.OPLOCK_BREAK, body, sealed)
        for connection, channel in list(session.channels.items())
        if not channel.binding
    )


def handle(request: Request) -> bytes | Reply:
    """Take a holder's answer to a break; what it still holds goes back to it."""
    asked = decode_oplock_break_request(request.message)
    if not isinstance(asked, OplockBreak):
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "no lease was granted")
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a pipe has no oplock")
    level = acknowledge_break(open_.nt, asked.oplock_level)
    return encode_oplock_break(OplockBreak(open_.file_id, open_.file_id, level))
