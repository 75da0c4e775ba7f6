"""Reading, writing and flushing (MS-FSA 2.1.5.3 Server Requests a Read, 2.1.5.4 a Write, 2.1.5.7 Flushing)."""

from types import MethodType
from typing import TYPE_CHECKING, Final, NoReturn

from lamina.ntfsa import constants as c
from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.fscc.notify_information import WRITTEN
from lamina.ntfsa.grants.grant_breaks import data_changes
from lamina.ntfsa.locks.byte_range import read_conflict, write_conflict
from lamina.ntfsa.locks.lock_table import NO_LOCKS
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_changes import tell_data_changed
from lamina.ntfsa.times.modification import note_first_write, settle_write_time
from lamina.ntfsa.times.sticky_times import restore_after_change, restore_after_read
from lamina.vfs_modules.module import Backend

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.record import FileRecord
    from lamina.vfs_modules.token import ImpersonationToken

_READABLE: Final = c.FILE_READ_DATA | c.FILE_EXECUTE
_WRITABLE: Final = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA
_UNBUFFERED: Final = c.FILE_NO_INTERMEDIATE_BUFFERING
_WRITE_THROUGH: Final = c.FILE_WRITE_THROUGH
_MAX_OFFSET: Final = 0x7FFFFFFFFFFFFFFF


def _refuse(open_: "NtOpen") -> NoReturn:
    raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST if open_.is_directory else NtStatus.ACCESS_DENIED)


def _check_aligned(open_: "NtOpen", offset: int, length: int) -> None:
    """INVALID_PARAMETER for unbuffered transfers that are not whole sectors (MS-FSA 2.1.5.3, 2.1.5.4)."""
    if (offset | length) % open_.volume.settings.sector_size:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "unbuffered, and not whole sectors")


def read(context: "NtContext", open_: "NtOpen", buffer: memoryview, offset: int) -> int:
    """Fill `buffer` from `offset`; the bytes read.

    Raises END_OF_FILE, ACCESS_DENIED, FILE_LOCK_CONFLICT, INVALID_PARAMETER, INVALID_DEVICE_REQUEST (a directory).
    """
    length = len(buffer)
    if open_.is_directory or not open_.granted_access & _READABLE:
        _refuse(open_)
    if offset + length > _MAX_OFFSET:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    if open_.mode & _UNBUFFERED:
        _check_aligned(open_, offset, length)
    volume = open_.volume
    record = volume.registry.read(open_.file_key)
    if record.locks is not NO_LOCKS and length and read_conflict(record, open_.owner, offset, length):
        raise NtStatusError(NtStatus.FILE_LOCK_CONFLICT)
    try:
        count = open_.chain.pread(context.token, open_.data, buffer, offset)
        if open_.sticky is not None:
            restore_after_read(context.token, open_)
    except OSError as error:
        raise nt_error(error) from error
    if not count and length:
        raise NtStatusError(NtStatus.END_OF_FILE)
    open_.position = offset + count
    return count


def sendable(open_: "NtOpen", offset: int, length: int) -> int:
    """How many bytes of a range the kernel can send from the open's descriptor, as if `read` had answered with them.

    0 where it cannot, and where anything else has to do with the read, which `read` then is to be asked for.
    """
    pread = open_.chain.pread
    backend = getattr(pread, "__self__", None)
    if not isinstance(backend, Backend) or not isinstance(pread, MethodType) or open_.is_directory:
        return 0
    if not open_.granted_access & _READABLE or open_.mode & _UNBUFFERED or open_.sticky is not None:
        return 0
    if offset + length > _MAX_OFFSET or open_.volume.registry.read(open_.file_key).locks is not NO_LOCKS:
        return 0
    try:
        count = backend.sendable(open_.data, offset, length)
    except OSError:
        return 0
    open_.position = offset + count
    return count


def write(context: "NtContext", open_: "NtOpen", data: memoryview, offset: int, write_through: bool = False) -> int:
    """Write `data` at `offset`; the bytes written. An open that may only append writes at the end of the file.

    Raises ACCESS_DENIED, FILE_LOCK_CONFLICT, DISK_FULL, INVALID_PARAMETER, INVALID_DEVICE_REQUEST (a directory).
    """
    length = len(data)
    if open_.is_directory or not open_.granted_access & _WRITABLE:
        _refuse(open_)
    volume, token = open_.volume, context.token
    if open_.mode & _UNBUFFERED:
        _check_aligned(open_, offset, length)
    try:
        if offset + length > _MAX_OFFSET:
            raise NtStatusError(NtStatus.INVALID_PARAMETER)
        if not open_.granted_access & c.FILE_WRITE_DATA:
            offset = open_.chain.fstat(token, open_.data).size
        if not length:
            return 0
        record = volume.registry.read(open_.file_key)
        if record.locks is not NO_LOCKS or record.grants:
            respect_others(open_, record, offset, length)
        if open_.has_written:
            count = open_.chain.pwrite(token, open_.data, data, offset)
        else:
            count = _write_first(token, open_, data, offset)
        if (
            write_through
            or open_.sticky is not None
            or open_.mode & _WRITE_THROUGH
            or volume.registry.read(open_.file_key).grants
        ):
            finish_write(token, open_, write_through)
    except OSError as error:
        raise nt_error(error) from error
    open_.position = offset + count
    return count


def _write_first(token: "ImpersonationToken", open_: "NtOpen", data: memoryview, offset: int) -> int:
    note_first_write(token, open_)
    volume = open_.volume
    count = open_.chain.pwrite(token, open_.data, data, offset)
    # Writes that follow are told at the flush or the close, as the last write time is.
    open_.told_at_close |= WRITTEN
    if volume.watchers is not None:
        volume.watchers.being_written(open_.vfs_path)
    return count


def respect_others(open_: "NtOpen", record: "FileRecord", offset: int, length: int) -> None:
    """Respect the locks of others, and end what they cache."""
    if record.locks and write_conflict(record, open_.owner, offset, length):
        raise NtStatusError(NtStatus.FILE_LOCK_CONFLICT)
    if record.grants:
        data_changes(open_)


def finish_write(token: "ImpersonationToken", open_: "NtOpen", write_through: bool) -> None:
    """What follows every change of data: caches that began meanwhile end, times stay put, the disk is waited for."""
    volume = open_.volume
    if volume.registry.read(open_.file_key).grants:
        # Whoever began to cache while the write was parked has read what was there before.
        data_changes(open_)
    if open_.sticky is not None:
        restore_after_change(token, open_)
    if write_through or open_.mode & _WRITE_THROUGH:
        open_.chain.fsync(token, open_.data, True)


def flush(context: "NtContext", open_: "NtOpen") -> None:
    """Bring what was written to stable storage. ACCESS_DENIED unless the open may write (MS-FSA 2.1.5.7)."""
    if not open_.granted_access & _WRITABLE:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    try:
        open_.chain.fsync(context.token, open_.data)
        settle_write_time(context.token, open_)
        if open_.has_written and open_.volume.watchers is not None:
            tell_data_changed(open_, WRITTEN)
    except OSError as error:
        raise nt_error(error) from error
