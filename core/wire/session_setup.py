"""SESSION_SETUP (MS-SMB2 2.2.5 SMB2 SESSION_SETUP Request, 2.2.6 SMB2 SESSION_SETUP Response)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.fields import EMPTY, take, unpack_body

_REQUEST = Struct("<HBBIIHHQ")
_REQUEST_SIZE: Final = 25
_RESPONSE = Struct("<HHHH")
_RESPONSE_SIZE: Final = 9


class SessionSetupRequest(NamedTuple):
    """`flags`: SESSION_FLAG_BINDING; `security_buffer` is the GSS token."""

    security_buffer: memoryview = EMPTY
    flags: int = 0
    security_mode: int = 0
    capabilities: int = 0
    previous_session_id: int = 0


class SessionSetupResponse(NamedTuple):
    """`session_flags`: SESSION_FLAG_IS_GUEST, IS_NULL, ENCRYPT_DATA."""

    session_flags: int
    security_buffer: memoryview


def decode_session_setup_request(message: memoryview) -> SessionSetupRequest:
    """Decode the request."""
    what = "SESSION_SETUP request"
    flags, mode, capabilities, _, offset, length, previous = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    token = take(message, offset, length, HEADER_SIZE + _REQUEST.size, "security buffer of a " + what)
    return SessionSetupRequest(token, flags, mode, capabilities, previous)


def encode_session_setup_request(request: SessionSetupRequest) -> bytes:
    """Encode the request's body."""
    token, flags, mode, capabilities, previous = request
    offset = HEADER_SIZE + _REQUEST.size
    return _REQUEST.pack(_REQUEST_SIZE, flags, mode, capabilities, 0, offset, len(token), previous) + token


def encode_session_setup_response(session_flags: int, security_buffer: bytes) -> bytes:
    """Encode the response's body, with the acceptor's GSS token."""
    offset = HEADER_SIZE + _RESPONSE.size
    return _RESPONSE.pack(_RESPONSE_SIZE, session_flags, offset, len(security_buffer)) + security_buffer


def decode_session_setup_response(message: memoryview) -> SessionSetupResponse:
    """Decode the response."""
    what = "SESSION_SETUP response"
    flags, offset, length = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, what)
    token = take(message, offset, length, HEADER_SIZE + _RESPONSE.size, "security buffer of a " + what)
    return SessionSetupResponse(flags, token)
