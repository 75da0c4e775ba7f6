"""QUERY_INFO (MS-SMB2 2.2.37 SMB2 QUERY_INFO Request, 2.2.38 SMB2 QUERY_INFO Response)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.buffer_response import decode_buffer_response, encode_buffer_response
from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.fields import EMPTY, take, unpack_at, unpack_body

_REQUEST = Struct("<HBBIHHIIIQQ")
_REQUEST_SIZE: Final = 41
_QUOTA_QUERY = Struct("<BB2xIII")
_REQUEST_FIXED: Final = HEADER_SIZE + _REQUEST.size


class QueryInfoRequest(NamedTuple):
    """`info_type` INFO_*; `info_class` as in MS-FSCC 2.4 and 2.5; `input` for EA and quota queries."""

    persistent: int
    volatile: int
    info_type: int
    info_class: int
    output_buffer_length: int
    additional_information: int = 0
    flags: int = 0
    input: memoryview = EMPTY


class QuotaQuery(NamedTuple):
    """2.2.37.1 SMB2_QUERY_QUOTA_INFO: `wanted` is a list of FILE_GET_QUOTA_INFORMATION, otherwise `start` a SID."""

    single: bool
    restart: bool
    wanted: bytes = b""
    start: bytes = b""


def decode_query_info_request(message: memoryview) -> QueryInfoRequest:
    """Decode the request."""
    what = "QUERY_INFO request"
    fields = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    info_type, info_class, length, offset, _, input_length, additional, flags, persistent, volatile = fields
    given = take(message, offset, input_length, _REQUEST_FIXED, "input of a " + what)
    return QueryInfoRequest(persistent, volatile, info_type, info_class, length, additional, flags, given)


def encode_query_info_request(request: QueryInfoRequest) -> bytes:
    """Encode the request's body."""
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        request.info_type,
        request.info_class,
        request.output_buffer_length,
        _REQUEST_FIXED if request.input else 0,
        0,
        len(request.input),
        request.additional_information,
        request.flags,
        request.persistent,
        request.volatile,
    )
    return fixed + (request.input or b"\0")


def decode_quota_query(data: memoryview | bytes) -> QuotaQuery:
    """Decode SMB2_QUERY_QUOTA_INFO, the input of a query of the type INFO_QUOTA."""
    what = "quota query"
    single, restart, list_length, start_length, start_offset = unpack_at(_QUOTA_QUERY, memoryview(data), 0, what)
    first, view = _QUOTA_QUERY.size, memoryview(data)
    wanted = bytes(take(view, first, list_length, first, "SIDs of a " + what))
    if wanted:
        return QuotaQuery(bool(single), bool(restart), wanted)
    start = bytes(take(view, first + start_offset, start_length, first, "start of a " + what)) if start_length else b""
    return QuotaQuery(bool(single), bool(restart), b"", start)


def encode_quota_query(query: QuotaQuery) -> bytes:
    """Encode SMB2_QUERY_QUOTA_INFO."""
    fixed = _QUOTA_QUERY.pack(query.single, query.restart, len(query.wanted), len(query.start), 0)
    return fixed + (query.wanted or query.start)


def encode_query_info_response(data: bytes) -> bytes:
    """Encode the response's body."""
    return encode_buffer_response(data)


def decode_query_info_response(message: memoryview) -> memoryview:
    """The data in the response, in the structure of the information class."""
    return decode_buffer_response(message, "QUERY_INFO response")
