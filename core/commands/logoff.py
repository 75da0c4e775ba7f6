"""LOGOFF (MS-SMB2 3.3.5.6)."""

from lamina.core.request import Reply, Request
from lamina.core.wire.logoff import decode_logoff_request, encode_logoff_response


def handle(request: Request) -> bytes | Reply:
    """End a session: its requests, opens and trees, on every connection."""
    decode_logoff_request(request.message)
    assert request.session is not None
    request.connection.server.end_session(request.session, keep=request.exchange)
    return encode_logoff_response()
