"""What FSCTL_VALIDATE_NEGOTIATE_INFO carries (MS-SMB2 2.2.31.4 and 2.2.32.6 VALIDATE_NEGOTIATE_INFO)."""

from struct import Struct
from typing import NamedTuple

from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import unpack_at

_REQUEST = Struct("<I16sHH")
_RESPONSE = Struct("<I16sHH")


class ValidateNegotiateRequest(NamedTuple):
    """What the client said in its NEGOTIATE request."""

    capabilities: int
    client_guid: bytes
    security_mode: int
    dialects: tuple[int, ...]


class ValidateNegotiateResponse(NamedTuple):
    """What the server said in its NEGOTIATE response."""

    capabilities: int
    server_guid: bytes
    security_mode: int
    dialect: int


def decode_validate_negotiate_request(data: memoryview | bytes) -> ValidateNegotiateRequest:
    """Decode the input of the control code."""
    what = "VALIDATE_NEGOTIATE_INFO"
    capabilities, guid, mode, count = unpack_at(_REQUEST, memoryview(data), 0, what)
    if len(data) < _REQUEST.size + 2 * count:
        raise WireError(f"{what} of {len(data)} bytes that announces {count} dialects")
    return ValidateNegotiateRequest(capabilities, guid, mode, Struct(f"<{count}H").unpack_from(data, _REQUEST.size))


def encode_validate_negotiate_request(request: ValidateNegotiateRequest) -> bytes:
    """Encode the input of the control code."""
    dialects = request.dialects
    fixed = _REQUEST.pack(request.capabilities, request.client_guid, request.security_mode, len(dialects))
    return fixed + Struct(f"<{len(dialects)}H").pack(*dialects)


def encode_validate_negotiate_response(
    capabilities: int, server_guid: bytes, security_mode: int, dialect: int
) -> bytes:
    """Encode the output of the control code."""
    return _RESPONSE.pack(capabilities, server_guid, security_mode, dialect)


def decode_validate_negotiate_response(data: memoryview | bytes) -> ValidateNegotiateResponse:
    """Decode the output of the control code."""
    return ValidateNegotiateResponse(*unpack_at(_RESPONSE, memoryview(data), 0, "VALIDATE_NEGOTIATE_INFO response"))
