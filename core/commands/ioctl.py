"""IOCTL (MS-SMB2 3.3.5.15): the protocol's own control codes here, the file system's in ntfsa."""

from collections.abc import Callable
from typing import Final

from lamina.core.commands.resiliency import request_resiliency
from lamina.core.commands.server_copy import (
    FSCTL_DUPLICATE_EXTENTS_TO_FILE,
    FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX,
    FSCTL_SRV_COPYCHUNK,
    FSCTL_SRV_COPYCHUNK_WRITE,
    FSCTL_SRV_REQUEST_RESUME_KEY,
    copy_chunks,
    duplicate_extents,
    request_resume_key,
)
from lamina.core.interface_rules import announced, parse_entry
from lamina.core.interfaces import network_interfaces
from lamina.core.open_lookup import NO_FILE_ID, check_charge, open_of
from lamina.core.request import Reply, Request
from lamina.core.settings import Dialect
from lamina.core.wire.constants import GLOBAL_CAP_MULTI_CHANNEL
from lamina.core.wire.ioctl import IoctlRequest, decode_ioctl_request, encode_ioctl_response
from lamina.core.wire.network_interface import encode_network_interfaces
from lamina.core.wire.validate_negotiate import (
    decode_validate_negotiate_request,
    encode_validate_negotiate_response,
)
from lamina.ntfsa.constants import FSCTL_LMR_REQUEST_RESILIENCY
from lamina.ntfsa.fsctl.fs_control import fs_control
from lamina.ntfsa.information import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.token import SERVER_TOKEN

FSCTL_DFS_GET_REFERRALS: Final = 0x00060194
FSCTL_DFS_GET_REFERRALS_EX: Final = 0x000601B0
FSCTL_PIPE_PEEK: Final = 0x0011400C
FSCTL_PIPE_WAIT: Final = 0x00110018
FSCTL_PIPE_TRANSCEIVE: Final = 0x0011C017
FSCTL_QUERY_NETWORK_INTERFACE_INFO: Final = 0x001401FC
FSCTL_VALIDATE_NEGOTIATE_INFO: Final = 0x00140204

_IS_FSCTL: Final = 0x00000001


def handle(request: Request) -> bytes | Reply:
    """Run a control code."""
    asked = decode_ioctl_request(request.message)
    if asked.flags != _IS_FSCTL:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "only FSCTLs are served")
    check_charge(request, max(len(asked.input), asked.max_output_response))
    own = _OWN.get(asked.control_code)
    answer = own(request, asked) if own is not None else _on_open(request, asked)
    return Reply(answer.status, encode_ioctl_response(asked, answer.data))


def _on_open(request: Request, asked: IoctlRequest) -> Information:
    open_ = open_of(request, asked.persistent, asked.volatile)
    assert request.tree is not None
    if open_.nt is not None:
        return fs_control(request.tree.context, open_.nt, asked.control_code, asked.input, asked.max_output_response)
    raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "not a control code of a pipe")


def _transceive(request: Request, asked: IoctlRequest) -> Information:
    """Write to a pipe and read the answer (3.3.5.15.3)."""
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.pipe is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "not a pipe")
    answer = open_.pipe.transceive(asked.input, asked.max_output_response)
    return Information(answer.status, answer.data)


def _validate_negotiate(request: Request, asked: IoctlRequest) -> Information:
    """Confirm what was negotiated; a mismatch means somebody in between, and ends the connection (3.3.5.15.12)."""
    connection = request.connection
    said = decode_validate_negotiate_request(asked.input)
    agreed = (
        said.capabilities == connection.client_capabilities
        and said.client_guid == connection.client_guid
        and said.security_mode == connection.client_security_mode
        and tuple(said.dialects) == connection.client_dialects
        and connection.dialect != Dialect.SMB_3_1_1
    )
    if not agreed:
        connection.malformed("FSCTL_VALIDATE_NEGOTIATE_INFO does not match the NEGOTIATE request")
        connection.transport.abort()
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    server = connection.server
    response = encode_validate_negotiate_response(
        connection.server_capabilities, server.settings.server_guid, server.security_mode, connection.dialect
    )
    if asked.max_output_response < len(response):
        connection.transport.abort()
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    return Information(NtStatus.SUCCESS, response)


def _network_interfaces(request: Request, asked: IoctlRequest) -> Information:
    """The addresses a client may open further channels to (3.3.5.15.11), as they are now."""
    connection = request.connection
    if not connection.server_capabilities & GLOBAL_CAP_MULTI_CHANNEL:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "no multichannel on this connection")
    if asked.volatile != NO_FILE_ID:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    # The kernel asks the driver how fast the link is, which may take its time.
    found = offload(SERVER_TOKEN, network_interfaces)
    server, (address, port) = connection.server, connection.transport.local
    settings = server.settings
    told = announced(
        found,
        [parse_entry(text) for text in settings.interfaces],
        [parse_entry(text) for text in settings.interfaces_denied],
        address,
        lambda other: server.listens_on(other, port),
    )
    packed = encode_network_interfaces(told)
    if len(packed) > asked.max_output_response:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    return Information(NtStatus.SUCCESS, packed)


def _no_dfs(request: Request, asked: IoctlRequest) -> Information:
    """There is no DFS here (3.3.5.15.2)."""
    raise NtStatusError(NtStatus.FS_DRIVER_REQUIRED, "no DFS")


def _no_pipe_wait(request: Request, asked: IoctlRequest) -> Information:
    """Pipes here are never busy: whoever waits for one may go on (3.3.5.15.10)."""
    return Information(NtStatus.SUCCESS, b"")


_OWN: Final[dict[int, Callable[[Request, IoctlRequest], Information]]] = {
    FSCTL_PIPE_TRANSCEIVE: _transceive,
    FSCTL_PIPE_WAIT: _no_pipe_wait,
    FSCTL_VALIDATE_NEGOTIATE_INFO: _validate_negotiate,
    FSCTL_QUERY_NETWORK_INTERFACE_INFO: _network_interfaces,
    FSCTL_LMR_REQUEST_RESILIENCY: request_resiliency,
    FSCTL_DFS_GET_REFERRALS: _no_dfs,
    FSCTL_DFS_GET_REFERRALS_EX: _no_dfs,
    FSCTL_SRV_REQUEST_RESUME_KEY: request_resume_key,
    FSCTL_SRV_COPYCHUNK: copy_chunks,
    FSCTL_SRV_COPYCHUNK_WRITE: copy_chunks,
    FSCTL_DUPLICATE_EXTENTS_TO_FILE: duplicate_extents,
    FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX: duplicate_extents,
}
