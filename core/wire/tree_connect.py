"""TREE_CONNECT and TREE_DISCONNECT (MS-SMB2 2.2.9 to 2.2.12)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.empty import decode_empty, encode_empty
from lamina.core.wire.fields import decode_name, encode_name, take, unpack_body

_REQUEST = Struct("<HHHH")
_REQUEST_SIZE: Final = 9
_RESPONSE = Struct("<HBxIII")
_RESPONSE_SIZE: Final = 16


class TreeConnectRequest(NamedTuple):
    r"""`path` is "\\server\share"; `flags` (3.1.1) TREE_CONNECT_FLAG_*."""

    path: str
    flags: int = 0


class TreeConnectResponse(NamedTuple):
    """`share_type` SHARE_TYPE_*, `share_flags` SHAREFLAG_*, `capabilities` SHARE_CAP_*."""

    share_type: int
    share_flags: int
    capabilities: int
    maximal_access: int


def decode_tree_connect_request(message: memoryview) -> TreeConnectRequest:
    """Decode the request. The contexts of an extension (2.2.9.1) are left aside; PathOffset skips them."""
    what = "TREE_CONNECT request"
    flags, offset, length = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    path = take(message, offset, length, HEADER_SIZE + _REQUEST.size, "path of a " + what)
    return TreeConnectRequest(decode_name(path, "path of a " + what), flags)


def encode_tree_connect_request(request: TreeConnectRequest) -> bytes:
    """Encode the request's body."""
    path = encode_name(request.path)
    return _REQUEST.pack(_REQUEST_SIZE, request.flags, HEADER_SIZE + _REQUEST.size, len(path)) + path


def encode_tree_connect_response(share_type: int, share_flags: int, capabilities: int, maximal_access: int) -> bytes:
    """Encode the response's body."""
    return _RESPONSE.pack(_RESPONSE_SIZE, share_type, share_flags, capabilities, maximal_access)


def decode_tree_connect_response(message: memoryview) -> TreeConnectResponse:
    """Decode the response."""
    return TreeConnectResponse(*unpack_body(_RESPONSE, message, _RESPONSE_SIZE, "TREE_CONNECT response"))


def decode_tree_disconnect_request(message: memoryview) -> None:
    """Check the request; it says nothing."""
    decode_empty(message, "TREE_DISCONNECT request")


def encode_tree_disconnect_request() -> bytes:
    """Encode the request's body."""
    return encode_empty()


def encode_tree_disconnect_response() -> bytes:
    """Encode the response's body."""
    return encode_empty()


def decode_tree_disconnect_response(message: memoryview) -> None:
    """Check the response; it says nothing."""
    decode_empty(message, "TREE_DISCONNECT response")
