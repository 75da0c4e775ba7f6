"""FSCTL_LMR_REQUEST_RESILIENCY (MS-SMB2 3.3.5.15.9): an open is kept for its client whatever others want."""

from typing import TYPE_CHECKING

from lamina.core.durable_state import DurableState
from lamina.core.open_lookup import open_of
from lamina.core.request import Request
from lamina.core.settings import Dialect
from lamina.core.wire.durable_contexts import decode_resiliency_request
from lamina.ntfsa.durability.rules import Kind, resilient_seconds
from lamina.ntfsa.information import Information
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.core.wire.ioctl import IoctlRequest


def request_resiliency(request: Request, asked: "IoctlRequest") -> Information:
    """Promise an open resiliency. What is persistent stays that, which is more.

    Raises INVALID_DEVICE_REQUEST for SMB 2.0.2 and for pipes, NOT_SUPPORTED for directories and where the share keeps
    nothing, INVALID_PARAMETER for a longer time than is given.
    """
    if request.connection.dialect == Dialect.SMB_2_0_2:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "SMB 2.0.2 has no resiliency")
    open_ = open_of(request, asked.persistent, asked.volatile)
    nt = open_.nt
    if nt is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "a pipe is not kept")
    if nt.is_directory or not nt.volume.durable_handles:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "only files are kept, on shares that do")
    seconds = resilient_seconds(decode_resiliency_request(asked.input))
    if seconds is None:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "longer than opens are kept")
    session = open_.tree.session
    state = open_.durable
    if state is None:
        state = DurableState(1, session.token.user_sid, session.client_guid)
        request.connection.server.durables.enter(open_, state)
    if state.kind is not Kind.PERSISTENT:
        state.kind, state.seconds, state.owner = Kind.RESILIENT, seconds, session.token.user_sid
    return Information(NtStatus.SUCCESS, b"")
