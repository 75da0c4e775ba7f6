"""ECHO (MS-SMB2 2.2.28 SMB2 ECHO Request, 2.2.29 SMB2 ECHO Response)."""

from lamina.core.wire.empty import decode_empty, encode_empty


def decode_echo_request(message: memoryview) -> None:
    """Check the request; it says nothing."""
    decode_empty(message, "ECHO request")


def encode_echo_request() -> bytes:
    """Encode the request's body."""
    return encode_empty()


def encode_echo_response() -> bytes:
    """Encode the response's body."""
    return encode_empty()


def decode_echo_response(message: memoryview) -> None:
    """Check the response; it says nothing."""
    decode_empty(message, "ECHO response")
