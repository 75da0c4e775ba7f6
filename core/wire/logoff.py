"""LOGOFF (MS-SMB2 2.2.7 SMB2 LOGOFF Request, 2.2.8 SMB2 LOGOFF Response)."""

from lamina.core.wire.empty import decode_empty, encode_empty


def decode_logoff_request(message: memoryview) -> None:
    """Check the request; it says nothing."""
    decode_empty(message, "LOGOFF request")


def encode_logoff_request() -> bytes:
    """Encode the request's body."""
    return encode_empty()


def encode_logoff_response() -> bytes:
    """Encode the response's body."""
    return encode_empty()


def decode_logoff_response(message: memoryview) -> None:
    """Check the response; it says nothing."""
    decode_empty(message, "LOGOFF response")
