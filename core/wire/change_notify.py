"""CHANGE_NOTIFY (MS-SMB2 2.2.35 SMB2 CHANGE_NOTIFY Request, 2.2.36 SMB2 CHANGE_NOTIFY Response)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.buffer_response import decode_buffer_response, encode_buffer_response
from lamina.core.wire.fields import unpack_body

_REQUEST = Struct("<HHIQQII")
_REQUEST_SIZE: Final = 32


class ChangeNotifyRequest(NamedTuple):
    """`flags`: WATCH_TREE; `completion_filter` as in MS-FSCC 2.7.1; `output_buffer_length` in bytes."""

    persistent: int
    volatile: int
    completion_filter: int
    output_buffer_length: int
    flags: int = 0


def decode_change_notify_request(message: memoryview) -> ChangeNotifyRequest:
    """Decode the request."""
    flags, length, persistent, volatile, completion_filter, _ = unpack_body(
        _REQUEST, message, _REQUEST_SIZE, "CHANGE_NOTIFY request"
    )
    return ChangeNotifyRequest(persistent, volatile, completion_filter, length, flags)


def encode_change_notify_request(request: ChangeNotifyRequest) -> bytes:
    """Encode the request's body."""
    return _REQUEST.pack(
        _REQUEST_SIZE,
        request.flags,
        request.output_buffer_length,
        request.persistent,
        request.volatile,
        request.completion_filter,
        0,
    )


def encode_change_notify_response(entries: bytes) -> bytes:
    """Encode the response's body, with FILE_NOTIFY_INFORMATION entries (MS-FSCC 2.7.1)."""
    return encode_buffer_response(entries)


def decode_change_notify_response(message: memoryview) -> memoryview:
    """The entries in the response."""
    return decode_buffer_response(message, "CHANGE_NOTIFY response")
