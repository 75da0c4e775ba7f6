"""WRITE (MS-SMB2 2.2.21 SMB2 WRITE Request, 2.2.22 SMB2 WRITE Response)."""

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from lamina.core.wire.constants import CHANNEL_NONE, HEADER_SIZE
from lamina.core.wire.fields import EMPTY, take, too_short, unpack_body, wrong_size

_REQUEST = Struct("<HHIQQQIIHHI")
_REQUEST_SIZE: Final = 49
_DATA_OFFSET: Final = HEADER_SIZE + _REQUEST.size
_RESPONSE = Struct("<HHIIHH")
_RESPONSE_SIZE: Final = 17


class WriteRequest(NamedTuple):
    """`data` is a view into the message, `offset` in bytes; `flags` WRITEFLAG_*; `channel` CHANNEL_*."""

    persistent: int
    volatile: int
    offset: int
    data: memoryview
    flags: int = 0
    channel: int = CHANNEL_NONE
    remaining_bytes: int = 0
    channel_info: memoryview = EMPTY


class WriteResponse(NamedTuple):
    """`written` in bytes (Count)."""

    written: int
    remaining: int = 0


def decode_write_request(message: memoryview) -> WriteRequest:
    """Decode the request; the data must lie inside the message."""
    try:
        (
            size, data_offset, length, offset, persistent, volatile,
            channel, remaining, info_offset, info_length, flags,
        ) = _REQUEST.unpack_from(message, HEADER_SIZE)  # fmt: skip
    except struct_error:
        raise too_short(message, _REQUEST, "WRITE request") from None
    if size != _REQUEST_SIZE:
        raise wrong_size(size, _REQUEST_SIZE, "WRITE request")
    data = take(message, data_offset, length, _DATA_OFFSET, "data of a WRITE request")
    info = EMPTY
    if channel:
        info = take(message, info_offset, info_length, _DATA_OFFSET, "channel info of a WRITE request")
    return WriteRequest(persistent, volatile, offset, data, flags, channel, remaining, info)


def encode_write_request(request: WriteRequest) -> bytes:
    """Encode the request's body, the data before the channel info."""
    data, info = request.data, request.channel_info
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        _DATA_OFFSET,
        len(data),
        request.offset,
        request.persistent,
        request.volatile,
        request.channel,
        request.remaining_bytes,
        _DATA_OFFSET + len(data) if info else 0,
        len(info),
        request.flags,
    )
    return b"".join((fixed, data, info)) if data or info else fixed + b"\0"


def encode_write_response(count: int) -> bytes:
    """Encode the response's body. Its one byte of Buffer is not sent: StructureSize counts it, the data is empty."""
    return _RESPONSE.pack(_RESPONSE_SIZE, 0, count, 0, 0, 0)


def decode_write_response(message: memoryview) -> WriteResponse:
    """Decode the response."""
    _, count, remaining, _, _ = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, "WRITE response")
    return WriteResponse(count, remaining)
