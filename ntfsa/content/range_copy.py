"""Copying ranges between two open files without the client (MS-SMB2 3.3.5.15.6, MS-FSA 2.1.5.3 and 2.1.5.4).

Windows makes such a copy of reads and writes, so locks are in its way as they are in theirs. Here the file system is
asked first, and where it cannot the bytes go through a buffer of at most PIECE bytes.
"""

import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.data_change import change_range
from lamina.ntfsa.errors import status_of
from lamina.ntfsa.locks.byte_range import read_conflict
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import breathe

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen

PIECE: Final = 1 << 20
"""Bytes that are copied at a time: between two pieces others are served, and the copy can be cancelled."""

_READABLE: Final = c.FILE_READ_DATA | c.FILE_EXECUTE
_WRITABLE: Final = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA
_MAX_OFFSET: Final = 0x7FFFFFFFFFFFFFFF


class CopyRange(NamedTuple):
    """A range to copy; offsets and length in bytes."""

    source_offset: int
    target_offset: int
    length: int


class Copied(NamedTuple):
    """How far a copy came: `ranges` that are complete, `partial` bytes of the next, `total` bytes of all."""

    status: NtStatus
    ranges: int
    partial: int
    total: int


def require_copyable(source: "NtOpen", target: "NtOpen", reads_target: bool) -> None:
    """ACCESS_DENIED unless the two opens may read and write; `reads_target`: the target must be readable, too.

    INVALID_DEVICE_REQUEST for a directory (MS-SMB2 3.3.5.15.6).
    """
    if source.is_directory or target.is_directory:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "a directory has no data to copy")
    if not source.granted_access & _READABLE or not target.granted_access & _WRITABLE:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    if reads_target and not target.granted_access & c.FILE_READ_DATA:
        raise NtStatusError(NtStatus.ACCESS_DENIED)


def copy_ranges(context: "NtContext", source: "NtOpen", target: "NtOpen", ranges: Sequence[CopyRange]) -> Copied:
    """Copy the ranges in order until one fails; the caller has checked the access (`require_copyable`).

    The status is SUCCESS, INVALID_VIEW_SIZE (beyond the end of the source), FILE_LOCK_CONFLICT, or what the file system
    says. Raises RequestCancelled.
    """
    total = 0
    for index, part in enumerate(ranges):
        done = 0
        try:
            _check_range(context, source, part)
            while done < part.length:
                done += _copy_piece(context, source, target, _piece(part, done))
                breathe()
        except NtStatusError as error:
            return Copied(error.status, index, done, total + done)
        except OSError as error:
            return Copied(status_of(error), index, done, total + done)
        total += done
    return Copied(NtStatus.SUCCESS, len(ranges), 0, total)


def _piece(part: CopyRange, done: int) -> CopyRange:
    return CopyRange(part.source_offset + done, part.target_offset + done, min(part.length - done, PIECE))


def _check_range(context: "NtContext", source: "NtOpen", part: CopyRange) -> None:
    if part.target_offset + part.length > _MAX_OFFSET:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a range that no file can have")
    if part.source_offset + part.length > source.chain.fstat(context.token, source.data).size:
        raise NtStatusError(NtStatus.INVALID_VIEW_SIZE, "a range beyond the end of the source")


def _copy_piece(context: "NtContext", source: "NtOpen", target: "NtOpen", part: CopyRange) -> int:
    record = source.volume.registry.read(source.file_key)
    if record.locks and read_conflict(record, source.owner, part.source_offset, part.length):
        raise NtStatusError(NtStatus.FILE_LOCK_CONFLICT)
    mover = _mover(source, target, part)
    moved = change_range(
        context.token, target, part.target_offset, part.length, lambda: mover(context, source, target, part)
    )
    if moved < part.length:
        raise NtStatusError(NtStatus.INVALID_VIEW_SIZE, "the source has become shorter")
    return moved


_Mover = Callable[["NtContext", "NtOpen", "NtOpen", CopyRange], int]


def _mover(source: "NtOpen", target: "NtOpen", part: CopyRange) -> _Mover:
    overlap = abs(part.source_offset - part.target_offset) < part.length
    same_file = source.file_key[:2] == target.file_key[:2]
    if source.volume is not target.volume or (overlap and same_file):
        return _read_and_write
    return _let_chain_copy


def _let_chain_copy(context: "NtContext", source: "NtOpen", target: "NtOpen", part: CopyRange) -> int:
    source_offset, target_offset, length = part
    chain = target.volume.whole_chain
    try:
        return chain.copy_range(context.token, source.data, source_offset, target.data, target_offset, length)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EINVAL}:
            raise
    return _read_and_write(context, source, target, part)


def _read_and_write(context: "NtContext", source: "NtOpen", target: "NtOpen", part: CopyRange) -> int:
    buffer = memoryview(bytearray(part.length))
    count = source.chain.pread(context.token, source.data, buffer, part.source_offset)
    if count:
        target.chain.pwrite(context.token, target.data, buffer[:count], part.target_offset)
    return count
