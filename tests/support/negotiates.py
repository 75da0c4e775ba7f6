"""A NEGOTIATE as bytes, as it comes first on a connection."""

from lamina.core.wire.negotiate import NegotiateRequest, encode_negotiate_request

GUID = b"a client's guid."


def framed(message: bytes) -> bytes:
    """With the prefix of the transport."""
    return len(message).to_bytes(4, "big") + message


def negotiate() -> bytes:
    """That of a client whose guid is GUID."""
    body = encode_negotiate_request(NegotiateRequest((0x0210, 0x0311), 1, 0x7F, GUID), ())
    return framed(b"\xfeSMB" + bytes(60) + body)
