"""CLOSE (MS-SMB2 3.3.5.10)."""

from typing import Final

from lamina.core.open_lookup import open_of
from lamina.core.request import Reply, Request
from lamina.core.wire.close import decode_close_request, encode_close_response
from lamina.ntfsa.information import NetworkOpenInformation

POSTQUERY_ATTRIB: Final = 0x0001
_PLAIN_RESPONSE = encode_close_response(0, None)


def handle(request: Request) -> bytes | Reply:
    """Close an open, after the requests that still use it, and tell the file's last state if asked."""
    asked = decode_close_request(request.message)
    open_ = open_of(request, asked.persistent, asked.volatile)
    information = request.connection.server.close_open(open_, bool(asked.flags & POSTQUERY_ATTRIB), own_uses=1)
    if information is None:
        return _PLAIN_RESPONSE
    return _with_attributes(information)


def _with_attributes(information: NetworkOpenInformation) -> bytes:
    return encode_close_response(POSTQUERY_ATTRIB, information)
