"""WRITE (MS-SMB2 3.3.5.13): from the receive buffer straight into the file."""

from typing import Final

from lamina.core.open_lookup import check_charge, open_of
from lamina.core.request import Reply, Request
from lamina.core.settings import Dialect
from lamina.core.wire.write import decode_write_request, encode_write_response
from lamina.ntfsa.content import data

WRITE_THROUGH: Final = 0x00000001


def handle(request: Request) -> bytes | Reply:
    """Write to a file or a named pipe."""
    asked = decode_write_request(request.message)
    check_charge(request, len(asked.data))
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        assert open_.pipe is not None
        return encode_write_response(open_.pipe.write(asked.data))
    assert request.tree is not None
    write_through = bool(asked.flags & WRITE_THROUGH) and request.connection.dialect >= Dialect.SMB_2_1
    return encode_write_response(data.write(request.tree.context, open_.nt, asked.data, asked.offset, write_through))
