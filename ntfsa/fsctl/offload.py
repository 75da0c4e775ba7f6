"""Offloaded data transfers: FSCTL_OFFLOAD_READ and FSCTL_OFFLOAD_WRITE (MS-FSCC 2.3.41 to 2.3.44, MS-FSA 2.1.5.10).

The token does not hold the data: if the source has changed since, it is worth nothing (INVALID_TOKEN), and the client
copies by itself. A token is good within its share.
"""

import time
from struct import Struct
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.offload_tokens import TOKEN_SIZE, ZERO_TOKEN, OffloadedRange
from lamina.ntfsa.content.range_copy import CopyRange, copy_ranges
from lamina.ntfsa.fsctl.control import Control
from lamina.ntfsa.fsctl.sparse import allocated_parts, zero_data
from lamina.ntfsa.locks.byte_range import read_conflict
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen

_READ_INPUT: Final = Struct("<IIIIQQ")
_READ_OUTPUT: Final = Struct("<IIQ512s")
_WRITE_INPUT: Final = Struct("<IIQQQ512s")
_WRITE_OUTPUT: Final = Struct("<IIQ")
_ALL_ZERO_BEYOND: Final = 0x1

MAX_TRANSFER: Final = 256 << 20
"""Bytes that one token stands for at most: the client asks again for the rest."""

DEFAULT_SECONDS: Final = 30.0
MAX_SECONDS: Final = 120.0
"""How long a token lives: by default, and at most, whatever the client asks for."""


def _stamp(control: Control, open_: "NtOpen") -> tuple[int, ...]:
    stat = open_.chain.fstat(control.context.token, open_.data)
    return (stat.size, stat.mtime_ns, stat.ctime_ns)


def _check(control: Control, output: Struct, access: int, offset: int, length: int) -> None:
    if control.open.is_directory:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "a directory has no data")
    if not control.open.granted_access & access:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    if control.max_output < output.size:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    if (offset | length) % control.open.volume.settings.sector_size or offset + length >= 1 << 63:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "not whole sectors")


def offload_read(control: Control) -> Information:
    """A token for a range of the file, or for its beginning.

    Raises ACCESS_DENIED, END_OF_FILE, FILE_LOCK_CONFLICT, INVALID_PARAMETER, BUFFER_TOO_SMALL.
    """
    size, _, milliseconds, _, offset, length = control.unpack(_READ_INPUT)
    if size != _READ_INPUT.size:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    _check(control, _READ_OUTPUT, c.FILE_READ_DATA, offset, length)
    if not length:
        return control.answer(_READ_OUTPUT.pack(_READ_OUTPUT.size, 0, 0, bytes(TOKEN_SIZE)))
    open_, context = control.open, control.context
    stamp = _stamp(control, open_)
    if offset >= stamp[0]:
        raise NtStatusError(NtStatus.END_OF_FILE)
    _respect_locks(open_, offset, length)
    length = min(length, stamp[0] - offset, MAX_TRANSFER)
    if not allocated_parts(control, offset, length, 1):
        flags = 0 if allocated_parts(control, offset, stamp[0] - offset, 1) else _ALL_ZERO_BEYOND
        return control.answer(_READ_OUTPUT.pack(_READ_OUTPUT.size, flags, length, ZERO_TOKEN))
    now = time.monotonic()
    expires = now + min(milliseconds / 1000 or DEFAULT_SECONDS, MAX_SECONDS)
    offloaded = OffloadedRange(open_, offset, length, stamp, context.session_id, context.token.user_sid, expires)
    token = open_.volume.offload_tokens.add(offloaded, now)
    return control.answer(_READ_OUTPUT.pack(_READ_OUTPUT.size, 0, length, token))


def _respect_locks(open_: "NtOpen", offset: int, length: int) -> None:
    record = open_.volume.registry.read(open_.file_key)
    if record.locks and read_conflict(record, open_.owner, offset, length):
        raise NtStatusError(NtStatus.FILE_LOCK_CONFLICT)


def offload_write(control: Control) -> Information:
    """Write what a token stands for, from `TransferOffset` in it on; the file does not grow by it.

    Raises ACCESS_DENIED, END_OF_FILE, FILE_LOCK_CONFLICT, INVALID_PARAMETER, INVALID_TOKEN, BUFFER_TOO_SMALL.
    """
    size, _, offset, length, transfer, token = control.unpack(_WRITE_INPUT)
    if size != _WRITE_INPUT.size:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    _check(control, _WRITE_OUTPUT, c.FILE_WRITE_DATA, offset, length)
    if transfer % control.open.volume.settings.sector_size:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "not whole sectors")
    room = control.open.chain.fstat(control.context.token, control.open.data).size - offset
    if length and room <= 0:
        raise NtStatusError(NtStatus.END_OF_FILE)
    length = min(length, room, MAX_TRANSFER)
    if token == ZERO_TOKEN:
        zero_data(control, offset, length)
    elif length:
        length = _write_range(control, token, transfer, offset, length)
    return control.answer(_WRITE_OUTPUT.pack(_WRITE_OUTPUT.size, 0, max(length, 0)))


def _write_range(control: Control, token: bytes, transfer: int, offset: int, length: int) -> int:
    open_, context = control.open, control.context
    tokens = open_.volume.offload_tokens
    found = tokens.find(token, context.session_id, context.token.user_sid, time.monotonic())
    if found is None or _stamp(control, found.source) != found.stamp:
        raise NtStatusError(NtStatus.INVALID_TOKEN)
    if transfer >= found.length:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "beyond what the token stands for")
    part = CopyRange(found.offset + transfer, offset, min(length, found.length - transfer))
    if open_.file_key == found.source.file_key and abs(part.source_offset - offset) < part.length:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "the ranges overlap")
    copied = copy_ranges(context, found.source, open_, [part])
    if copied.status is not NtStatus.SUCCESS and not copied.total:
        raise NtStatusError(copied.status)
    return copied.total
