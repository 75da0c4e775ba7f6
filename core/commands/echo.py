"""ECHO (MS-SMB2 3.3.5.17)."""

from lamina.core.request import Reply, Request
from lamina.core.wire.echo import decode_echo_request, encode_echo_response

_RESPONSE = encode_echo_response()


def handle(request: Request) -> bytes | Reply:
    """Answer that the connection lives."""
    decode_echo_request(request.message)
    return _RESPONSE
