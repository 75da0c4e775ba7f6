"""IOCTL (MS-SMB2 2.2.31 SMB2 IOCTL Request, 2.2.32 SMB2 IOCTL Response).

What some control codes carry: `validate_negotiate`, `network_interface`.
"""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE, IOCTL_IS_FSCTL
from lamina.core.wire.fields import EMPTY, take, unpack_body

NO_FILE: Final = 0xFFFFFFFFFFFFFFFF
"""Both halves of the file id where a control code needs no open."""

_REQUEST = Struct("<HHIQQIIIIIIII")
_REQUEST_SIZE: Final = 57
_REQUEST_FIXED: Final = HEADER_SIZE + _REQUEST.size
_RESPONSE = Struct("<HHIQQIIIIII")
_RESPONSE_SIZE: Final = 49
_RESPONSE_FIXED: Final = HEADER_SIZE + _RESPONSE.size


class IoctlRequest(NamedTuple):
    """`flags`: IOCTL_IS_FSCTL. Lengths in bytes. `output` is what a client sends in the output buffer: rarely any."""

    control_code: int
    persistent: int = NO_FILE
    volatile: int = NO_FILE
    input: memoryview = EMPTY
    max_output_response: int = 0
    max_input_response: int = 0
    flags: int = IOCTL_IS_FSCTL
    output: memoryview = EMPTY


class IoctlResponse(NamedTuple):
    """The answer; `input` is returned by pipes only."""

    control_code: int
    persistent: int
    volatile: int
    output: memoryview
    input: memoryview = EMPTY
    flags: int = 0


def decode_ioctl_request(message: memoryview) -> IoctlRequest:
    """Decode the request."""
    what = "IOCTL request"
    fields = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    _, code, persistent, volatile, in_at, in_length, max_in, out_at, out_length, max_out, flags, _ = fields
    given = take(message, in_at, in_length, _REQUEST_FIXED, "input of an " + what)
    output = take(message, out_at, out_length, _REQUEST_FIXED, "output of an " + what)
    return IoctlRequest(code, persistent, volatile, given, max_out, max_in, flags, output)


def encode_ioctl_request(request: IoctlRequest) -> bytes:
    """Encode the request's body, input before output."""
    given, output = request.input, request.output
    output_at = _REQUEST_FIXED + (len(given) + 7 & ~7)
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        0,
        request.control_code,
        request.persistent,
        request.volatile,
        _REQUEST_FIXED,
        len(given),
        request.max_input_response,
        output_at if output else 0,
        len(output),
        request.max_output_response,
        request.flags,
        0,
    )
    buffer = bytes(given).ljust(output_at - _REQUEST_FIXED, b"\0") + output if output else bytes(given)
    return fixed + (buffer or b"\0")


def encode_ioctl_response(request: IoctlRequest, output: bytes | memoryview) -> bytes:
    """Encode the body of the response to `request`, whose control code and file id it repeats.

    InputOffset and OutputOffset are the same, as no input is returned (3.3.5.15).
    """
    fixed = _RESPONSE.pack(
        _RESPONSE_SIZE,
        0,
        request.control_code,
        request.persistent,
        request.volatile,
        _RESPONSE_FIXED,
        0,
        _RESPONSE_FIXED,
        len(output),
        0,
        0,
    )
    return fixed + output


def decode_ioctl_response(message: memoryview) -> IoctlResponse:
    """Decode the response."""
    what = "IOCTL response"
    fields = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, what)
    _, code, persistent, volatile, in_at, in_length, out_at, out_length, flags, _ = fields
    returned = take(message, in_at, in_length, _RESPONSE_FIXED, "input of an " + what)
    output = take(message, out_at, out_length, _RESPONSE_FIXED, "output of an " + what)
    return IoctlResponse(code, persistent, volatile, output, returned, flags)
