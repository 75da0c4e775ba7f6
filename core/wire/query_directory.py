"""QUERY_DIRECTORY (MS-SMB2 2.2.33 SMB2 QUERY_DIRECTORY Request, 2.2.34 SMB2 QUERY_DIRECTORY Response)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.buffer_response import decode_buffer_response, encode_buffer_response
from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.fields import decode_name, encode_name, take, unpack_body

_REQUEST = Struct("<HBBIQQHHI")
_REQUEST_SIZE: Final = 33
_REQUEST_FIXED: Final = HEADER_SIZE + _REQUEST.size


class QueryDirectoryRequest(NamedTuple):
    """`info_class` as in MS-FSCC 2.4; `flags` RESTART_SCANS and others; `output_buffer_length` in bytes."""

    persistent: int
    volatile: int
    info_class: int
    pattern: str
    output_buffer_length: int
    flags: int = 0
    file_index: int = 0


def decode_query_directory_request(message: memoryview) -> QueryDirectoryRequest:
    """Decode the request."""
    what = "QUERY_DIRECTORY request"
    fields = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    info_class, flags, index, persistent, volatile, offset, length, output_length = fields
    pattern = decode_name(take(message, offset, length, _REQUEST_FIXED, "pattern of a " + what), "pattern of a " + what)
    return QueryDirectoryRequest(persistent, volatile, info_class, pattern, output_length, flags, index)


def encode_query_directory_request(request: QueryDirectoryRequest) -> bytes:
    """Encode the request's body."""
    pattern = encode_name(request.pattern)
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        request.info_class,
        request.flags,
        request.file_index,
        request.persistent,
        request.volatile,
        _REQUEST_FIXED if pattern else 0,
        len(pattern),
        request.output_buffer_length,
    )
    return fixed + (pattern or b"\0")


def encode_query_directory_response(entries: bytes) -> bytes:
    """Encode the response's body."""
    return encode_buffer_response(entries)


def decode_query_directory_response(message: memoryview) -> memoryview:
    """The entries in the response, in the structure of the information class."""
    return decode_buffer_response(message, "QUERY_DIRECTORY response")
