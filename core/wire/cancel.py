"""CANCEL (MS-SMB2 2.2.30 SMB2 CANCEL Request; there is no response)."""

from lamina.core.wire.empty import decode_empty, encode_empty


def decode_cancel_request(message: memoryview) -> None:
    """Check the request; it says nothing."""
    decode_empty(message, "CANCEL request")


def encode_cancel_request() -> bytes:
    """Encode the request's body."""
    return encode_empty()
