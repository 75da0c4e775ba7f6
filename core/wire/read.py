"""READ (MS-SMB2 2.2.19 SMB2 READ Request, 2.2.20 SMB2 READ Response)."""

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from lamina.core.wire.constants import CHANNEL_NONE, HEADER_SIZE
from lamina.core.wire.fields import EMPTY, take, too_short, unpack_body, wrong_size

_REQUEST = Struct("<HBBIQQQIIIHH")
_REQUEST_SIZE: Final = 49
_RESPONSE = Struct("<HBBIII")
_RESPONSE_SIZE: Final = 17
READ_RESPONSE_HEADER_SIZE: Final = _RESPONSE.size
"""Bytes of the response's body before the data: 16."""

_DATA_OFFSET: Final = HEADER_SIZE + READ_RESPONSE_HEADER_SIZE


class ReadRequest(NamedTuple):
    """`offset`, `length` and `minimum_count` in bytes; `flags` READFLAG_*; `channel` CHANNEL_*."""

    persistent: int
    volatile: int
    offset: int
    length: int
    minimum_count: int = 0
    flags: int = 0
    channel: int = CHANNEL_NONE
    remaining_bytes: int = 0
    channel_info: memoryview = EMPTY


class ReadResponse(NamedTuple):
    """`data` is a view into the message."""

    data: memoryview
    remaining: int = 0
    flags: int = 0


def decode_read_request(message: memoryview) -> ReadRequest:
    """Decode the request."""
    try:
        (
            size, _, flags, length, offset, persistent, volatile, minimum, channel, remaining, info_offset, info_length,
        ) = _REQUEST.unpack_from(message, HEADER_SIZE)  # fmt: skip
    except struct_error:
        raise too_short(message, _REQUEST, "READ request") from None
    if size != _REQUEST_SIZE:
        raise wrong_size(size, _REQUEST_SIZE, "READ request")
    info = EMPTY
    if channel:
        info = take(message, info_offset, info_length, HEADER_SIZE + _REQUEST.size, "channel info of a READ request")
    return ReadRequest(persistent, volatile, offset, length, minimum, flags, channel, remaining, info)


def encode_read_request(request: ReadRequest) -> bytes:
    """Encode the request's body. Padding asks for the data where a response has it anyway."""
    info = request.channel_info
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        _DATA_OFFSET,
        request.flags,
        request.length,
        request.offset,
        request.persistent,
        request.volatile,
        request.minimum_count,
        request.channel,
        request.remaining_bytes,
        HEADER_SIZE + _REQUEST.size if info else 0,
        len(info),
    )
    return fixed + (info or b"\0")


def encode_read_response(data: bytes | memoryview) -> bytes:
    """Encode the response's body with the data; pack_read_response_into spares the copy."""
    return _RESPONSE.pack(_RESPONSE_SIZE, _DATA_OFFSET, 0, len(data), 0, 0) + data


def pack_read_response_into(buffer: bytearray | memoryview, offset: int, length: int) -> None:
    """Write the READ_RESPONSE_HEADER_SIZE bytes before `length` bytes of data that are already in `buffer`."""
    _RESPONSE.pack_into(buffer, offset, _RESPONSE_SIZE, _DATA_OFFSET, 0, length, 0, 0)


def decode_read_response(message: memoryview) -> ReadResponse:
    """Decode the response."""
    what = "READ response"
    offset, _, length, remaining, flags = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, what)
    return ReadResponse(take(message, offset, length, _DATA_OFFSET, "data of a " + what), remaining, flags)
