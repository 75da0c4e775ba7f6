"""READ (MS-SMB2 3.3.5.12): from the file straight into the reply."""

from typing import Final

from lamina.core.crypto.sealing import SPARE
from lamina.core.open_lookup import check_charge, open_of
from lamina.core.request import HEADER, HEADROOM, Reply, Request
from lamina.core.wire.read import READ_RESPONSE_HEADER_SIZE, decode_read_request, pack_read_response_into
from lamina.ntfsa.content import data
from lamina.ntfsa.status import NtStatus, NtStatusError

_DATA: Final = HEADROOM + HEADER + READ_RESPONSE_HEADER_SIZE
_SUCCESS: Final = NtStatus.SUCCESS


def handle(request: Request) -> bytes | Reply:
    """Read a file or a named pipe."""
    asked = decode_read_request(request.message)
    length = asked.length
    check_charge(request, length)
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        return _read_pipe(request, length)
    assert request.tree is not None
    pool = request.connection.server.buffers
    buffer = pool.take(_DATA + length + SPARE)
    view = memoryview(buffer)
    try:
        count = data.read(request.tree.context, open_.nt, view[_DATA : _DATA + length], asked.offset)
    except BaseException:
        # What was given up half way might still be written into.
        pool.lend(buffer)
        raise
    if count < asked.minimum_count:
        raise NtStatusError(NtStatus.END_OF_FILE)
    pack_read_response_into(buffer, HEADROOM + HEADER, count)
    return Reply(_SUCCESS, buffer=buffer, size=READ_RESPONSE_HEADER_SIZE + count)


def _read_pipe(request: Request, length: int) -> Reply:
    assert request.open is not None
    assert request.open.pipe is not None
    answer = request.open.pipe.read(length)
    buffer = bytearray(_DATA) + answer.data + bytes(SPARE)
    pack_read_response_into(buffer, HEADROOM + HEADER, len(answer.data))
    return Reply(answer.status, buffer=buffer, size=READ_RESPONSE_HEADER_SIZE + len(answer.data))
