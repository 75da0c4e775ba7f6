"""CLOSE (MS-SMB2 2.2.15 SMB2 CLOSE Request, 2.2.16 SMB2 CLOSE Response)."""

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.fields import FileInformation, too_short, unpack_body, wrong_size

_REQUEST = Struct("<HHIQQ")
_REQUEST_SIZE: Final = 24
_RESPONSE = Struct("<HHIQQQQQQI")
_RESPONSE_SIZE: Final = 60


class CloseRequest(NamedTuple):
    """`flags`: CLOSE_FLAG_POSTQUERY_ATTRIB."""

    persistent: int
    volatile: int
    flags: int = 0


class CloseResponse(NamedTuple):
    """A FileInformation; all of it zero unless `flags` say that it was asked for and told."""

    flags: int
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    allocation_size: int
    end_of_file: int
    file_attributes: int


def decode_close_request(message: memoryview) -> CloseRequest:
    """Decode the request."""
    try:
        size, flags, _, persistent, volatile = _REQUEST.unpack_from(message, HEADER_SIZE)
    except struct_error:
        raise too_short(message, _REQUEST, "CLOSE request") from None
    if size != _REQUEST_SIZE:
        raise wrong_size(size, _REQUEST_SIZE, "CLOSE request")
    return CloseRequest(persistent, volatile, flags)


def encode_close_request(request: CloseRequest) -> bytes:
    """Encode the request's body."""
    return _REQUEST.pack(_REQUEST_SIZE, request.flags, 0, request.persistent, request.volatile)


def encode_close_response(flags: int, information: FileInformation | None) -> bytes:
    """Encode the response's body; without `information` all of it is zero."""
    if information is None:
        return _RESPONSE.pack(_RESPONSE_SIZE, flags, 0, 0, 0, 0, 0, 0, 0, 0)
    return _RESPONSE.pack(
        _RESPONSE_SIZE,
        flags,
        0,
        information.creation_time,
        information.last_access_time,
        information.last_write_time,
        information.change_time,
        information.allocation_size,
        information.end_of_file,
        information.file_attributes,
    )


def decode_close_response(message: memoryview) -> CloseResponse:
    """Decode the response."""
    flags, _, *information = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, "CLOSE response")
    return CloseResponse(flags, *information)
