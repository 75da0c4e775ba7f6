"""SET_INFO (MS-SMB2 3.3.5.21)."""

from typing import TYPE_CHECKING, Final

from lamina.core.open_lookup import check_charge, open_of
from lamina.core.persistent_opens import save
from lamina.core.request import Reply, Request
from lamina.core.session import SmbOpen
from lamina.core.wire.set_info import SetInfoRequest, decode_set_info_request, encode_set_info_response
from lamina.ntfsa.information import set_file, set_filesystem, set_quota, set_security
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.core.server_core import SmbServer

RESPONSE: Final = encode_set_info_response()


def handle(request: Request) -> bytes | Reply:
    """Change what is kept about a file, its file system, or its security."""
    asked = decode_set_info_request(request.message)
    check_charge(request, len(asked.buffer))
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "nothing can be set on a pipe")
    set_on(request.connection.server, open_, open_.nt, asked)
    return RESPONSE


def set_on(server: "SmbServer", open_: SmbOpen, nt: NtOpen, asked: SetInfoRequest) -> None:
    """Set what is asked, of a file. Raises NtStatusError."""
    context, path = open_.tree.context, nt.path
    match asked.info_type:
        case 1:
            set_file(context, nt, asked.info_class, asked.buffer)
        case 2:
            set_filesystem(context, nt, asked.info_class, asked.buffer)
        case 3:
            set_security(context, nt, asked.additional_information, asked.buffer)
        case 4:
            set_quota(context, nt, asked.buffer)
        case other:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, f"unknown information type {other}")
    _keep(server, open_, nt, path)


def _keep(server: "SmbServer", open_: SmbOpen, nt: NtOpen, path: str) -> None:
    """Have the records of persistent opens say what was set; `path`: what the file was called before."""
    durables = server.durables
    if nt.path != path and durables.names_are_kept:
        durables.save_renamed(nt.volume, nt.path)
    elif open_.durable is not None:
        save(open_)
