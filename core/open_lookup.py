"""What a FileId in a request means (MS-SMB2 3.3.5.2.7.2 and the first step of every command with a FileId)."""

from typing import Final

from lamina.core.channel_sequence import CHANGING
from lamina.core.request import Request
from lamina.core.session import SmbOpen
from lamina.core.settings import Dialect
from lamina.core.wire.constants import FLAGS_RELATED_OPERATIONS, FLAGS_REPLAY_OPERATION
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.status import NtStatus, NtStatusError

NO_FILE_ID: Final = 0xFFFFFFFFFFFFFFFF
CREDIT_BYTES: Final = 65536
_PERSISTENT: Final = Kind.PERSISTENT
_SMB_3_0: Final = int(Dialect.SMB_3_0)


def open_of(request: Request, persistent: int, volatile: int) -> SmbOpen:
    """The open a request names, held until the request ends.

    Raises FILE_CLOSED where there is none, FILE_NOT_AVAILABLE where its channel sequence lets it change nothing.
    """
    if request.header.flags & FLAGS_RELATED_OPERATIONS:
        volatile = _inherited(request, volatile)
    assert request.session is not None
    open_ = request.session.opens.get(volatile)
    if open_ is None or open_.closing or open_.tree is not request.tree:
        raise NtStatusError(NtStatus.FILE_CLOSED)
    if persistent not in (open_.file_id, NO_FILE_ID):
        raise NtStatusError(NtStatus.FILE_CLOSED)
    if request.connection.dialect >= _SMB_3_0:
        header = request.header
        # 3.3.5.2.10 Verifying the Channel Sequence Number
        if open_.sequence.admit(header.status & 0xFFFF, header.flags & FLAGS_REPLAY_OPERATION != 0):
            request.sequenced = True
        elif header.command in CHANGING:
            raise NtStatusError(NtStatus.FILE_NOT_AVAILABLE, f"channel sequence {header.channel_sequence}")
    open_.busy += 1
    if open_.durable is not None and open_.durable.kind is not _PERSISTENT:
        open_.durable.replayable = False
    request.open = open_
    request.file_id = volatile
    return open_


def _inherited(request: Request, volatile: int) -> int:
    if request.exchange.chain_failed is not None:
        raise NtStatusError(request.exchange.chain_failed, "the request before it in the compound failed")
    if request.file_id is not None:
        return request.file_id
    return volatile


def check_charge(request: Request, size: int) -> None:
    """Refuse a payload that its credits do not pay for (3.3.5.2.5). `size`: bytes sent or asked for."""
    connection = request.connection
    if not connection.multi_credit:
        if size > CREDIT_BYTES:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, "more than 64 KiB without multi-credit operations")
    elif size > CREDIT_BYTES and (size - 1) // CREDIT_BYTES + 1 > request.header.credit_charge:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, f"{size} bytes with a charge of {request.header.credit_charge}")
    if size > connection.server.settings.max_io:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, f"{size} bytes are more than was negotiated")
