"""SET_INFO (MS-SMB2 2.2.39 SMB2 SET_INFO Request, 2.2.40 SMB2 SET_INFO Response)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.fields import take, unpack_body

_REQUEST = Struct("<HBBIHHIQQ")
_REQUEST_SIZE: Final = 33
_REQUEST_FIXED: Final = HEADER_SIZE + _REQUEST.size
_RESPONSE = Struct("<H")
_RESPONSE_SIZE: Final = 2


class SetInfoRequest(NamedTuple):
    """`info_type` INFO_*; `info_class` as in MS-FSCC 2.4 and 2.5; `buffer` in the structure of the class."""

    persistent: int
    volatile: int
    info_type: int
    info_class: int
    buffer: memoryview
    additional_information: int = 0


def decode_set_info_request(message: memoryview) -> SetInfoRequest:
    """Decode the request."""
    what = "SET_INFO request"
    fields = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    info_type, info_class, length, offset, _, additional, persistent, volatile = fields
    buffer = take(message, offset, length, _REQUEST_FIXED, "buffer of a " + what)
    return SetInfoRequest(persistent, volatile, info_type, info_class, buffer, additional)


def encode_set_info_request(request: SetInfoRequest) -> bytes:
    """Encode the request's body."""
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        request.info_type,
        request.info_class,
        len(request.buffer),
        _REQUEST_FIXED,
        0,
        request.additional_information,
        request.persistent,
        request.volatile,
    )
    return fixed + (request.buffer or b"\0")


def encode_set_info_response() -> bytes:
    """Encode the response's body."""
    return _RESPONSE.pack(_RESPONSE_SIZE)


def decode_set_info_response(message: memoryview) -> None:
    """Check the response; it says nothing."""
    unpack_body(_RESPONSE, message, _RESPONSE_SIZE, "SET_INFO response")
