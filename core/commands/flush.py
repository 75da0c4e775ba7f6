"""FLUSH (MS-SMB2 3.3.5.11)."""

from lamina.core.open_lookup import open_of
from lamina.core.request import Reply, Request
from lamina.core.wire.flush import decode_flush_request, encode_flush_response
from lamina.ntfsa.content import data

_RESPONSE = encode_flush_response()


def handle(request: Request) -> bytes | Reply:
    """Answer when all that was written to the file is on stable storage; a pipe has nothing to flush."""
    asked = decode_flush_request(request.message)
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is not None:
        assert request.tree is not None
        data.flush(request.tree.context, open_.nt)
    return _RESPONSE
