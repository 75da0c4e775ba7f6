"""How smbtorture blocks a channel: FSCTL_SMBTORTURE_FORCE_UNACKED_TIMEOUT, which the server under test must know.

From then on it is to the server as if the client's TCP acknowledged nothing any more on that connection. The request
comes without a session. Only the test's own server process takes it; Lamina itself knows no such thing.
"""

from typing import Final

from lamina.core import dispatch
from lamina.core.request import Reply, Request
from lamina.core.wire.constants import Command
from lamina.core.wire.errors import WireError
from lamina.core.wire.ioctl import IoctlRequest, decode_ioctl_request, encode_ioctl_response
from lamina.ntfsa.status import NtStatus

FORCE_UNACKED_TIMEOUT: Final = 0x83848003


def install() -> None:
    """Let the server of this process take the request."""
    execute = dispatch.execute

    def execute_or_block(request: Request) -> Reply:
        asked = _blocks(request)
        if asked is None:
            return execute(request)
        request.connection.transport.bytes_acknowledged = _nothing  # type: ignore[method-assign]
        return Reply(NtStatus.SUCCESS, encode_ioctl_response(asked, b""))

    dispatch.execute = execute_or_block


def _blocks(request: Request) -> IoctlRequest | None:
    if request.header.command != Command.IOCTL:
        return None
    try:
        asked = decode_ioctl_request(request.message)
    except WireError:
        return None
    return asked if asked.control_code == FORCE_UNACKED_TIMEOUT else None


def _nothing() -> int:
    return 0
