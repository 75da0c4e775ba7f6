"""TREE_DISCONNECT (MS-SMB2 3.3.5.8)."""

from lamina.core.request import Reply, Request
from lamina.core.wire.tree_connect import decode_tree_disconnect_request, encode_tree_disconnect_response


def handle(request: Request) -> bytes | Reply:
    """Leave a share: its opens are closed."""
    decode_tree_disconnect_request(request.message)
    assert request.tree is not None
    request.connection.server.end_tree(request.tree, keep=request.exchange)
    return encode_tree_disconnect_response()
