"""FLUSH (MS-SMB2 2.2.17 SMB2 FLUSH Request, 2.2.18 SMB2 FLUSH Response)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.empty import decode_empty, encode_empty
from lamina.core.wire.fields import unpack_body

_REQUEST = Struct("<HHIQQ")
_REQUEST_SIZE: Final = 24


class FlushRequest(NamedTuple):
    """The open to flush."""

    persistent: int
    volatile: int


def decode_flush_request(message: memoryview) -> FlushRequest:
    """Decode the request."""
    _, _, persistent, volatile = unpack_body(_REQUEST, message, _REQUEST_SIZE, "FLUSH request")
    return FlushRequest(persistent, volatile)


def encode_flush_request(request: FlushRequest) -> bytes:
    """Encode the request's body."""
    return _REQUEST.pack(_REQUEST_SIZE, 0, 0, request.persistent, request.volatile)


def encode_flush_response() -> bytes:
    """Encode the response's body."""
    return encode_empty()


def decode_flush_response(message: memoryview) -> None:
    """Check the response; it says nothing."""
    decode_empty(message, "FLUSH response")
