"""Sparse files: FSCTL_SET_SPARSE, SET_ZERO_DATA, QUERY_ALLOCATED_RANGES, FILE_LEVEL_TRIM, QUERY_FILE_REGIONS.

MS-FSA 2.1.5.10, MS-FSCC 2.3. That a file is sparse is one of its NT attributes; the file system gives and takes space
as it likes, but a file that is not sparse is told as allocated throughout, and zeroing keeps its space.
"""

import errno
from struct import Struct
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.content.data_change import change_range
from lamina.ntfsa.fscc.notify_information import FILE_NOTIFY_CHANGE_ATTRIBUTES
from lamina.ntfsa.fsctl.control import NOTHING, Control
from lamina.ntfsa.opening.create_finish import ignore_unsupported
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.operations import Capability, DosAttributes

_RANGE: Final = Struct("<qq")
_TRIM: Final = Struct("<II")
_TRIM_ANSWER: Final = Struct("<I")
_REGION_INPUT: Final = Struct("<qqI")
_REGIONS: Final = Struct("<IIII")
_REGION: Final = Struct("<qqI4x")
_REGION_USAGES: Final = 0x00000003
_MAY_SET_SPARSE: Final = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA | c.FILE_WRITE_ATTRIBUTES
_MAX_TRIM_RANGES: Final = 4096
_MAX_RANGES: Final = 4096  # in one answer, whatever room there is: the client asks again for the rest
_PIECE: Final = 1 << 20
_CLUSTER: Final = 4096
_MAX_OFFSET: Final = 0x7FFFFFFFFFFFFFFF


def _dos(control: Control) -> DosAttributes:
    open_, token = control.open, control.context.token
    chain = open_.volume.chain
    return chain.get_dos_attributes(token, open_.handle, chain.fstat(token, open_.handle))


def _size(control: Control) -> int:
    return control.open.chain.fstat(control.context.token, control.open.data).size


def _tell_watchers(control: Control, changed: int) -> None:
    watchers = control.open.volume.watchers
    if watchers is not None:
        watchers.modified(control.open.vfs_path, changed)


def set_sparse(control: Control) -> Information:
    """FSCTL_SET_SPARSE (MS-FSCC 2.3.83): without input the file becomes sparse."""
    control.require_file()
    control.require_any(_MAY_SET_SPARSE)
    open_, token = control.open, control.context.token
    capabilities = open_.volume.capabilities
    if Capability.SPARSE not in capabilities or Capability.DOS_ATTRIBUTES not in capabilities:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "there are no sparse files here")
    sparse = not control.input or control.input[0] != 0
    dos = _dos(control)
    attributes = dos.attributes & ~c.FILE_ATTRIBUTE_SPARSE_FILE | (c.FILE_ATTRIBUTE_SPARSE_FILE if sparse else 0)
    if attributes == dos.attributes:
        return NOTHING
    chain = open_.volume.chain
    if not sparse:
        _allocate_all(control)
    chain.set_dos_attributes(token, open_.handle, DosAttributes(attributes, dos.creation_ns))
    _tell_watchers(control, FILE_NOTIFY_CHANGE_ATTRIBUTES)
    return NOTHING


def _allocate_all(control: Control) -> None:
    # A file that is sparse no more has its space reserved, where this open may do that.
    size = _size(control)
    if size and control.open.granted_access & (c.FILE_WRITE_DATA | c.FILE_APPEND_DATA):
        with ignore_unsupported():
            control.open.chain.fallocate(control.context.token, control.open.data, 0, size)


def set_zero_data(control: Control) -> Information:
    """FSCTL_SET_ZERO_DATA (MS-FSCC 2.3.85): bytes up to the end of file become zeros."""
    control.require_file()
    control.require_any(c.FILE_WRITE_DATA)
    start, end = control.unpack(_RANGE)
    if start < 0 or end < start:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a range that ends before it begins")
    zero_data(control, start, min(end, _size(control)) - start)
    return NOTHING


def zero_data(control: Control, start: int, length: int) -> None:
    """Let a range that lies within the file read as zeros; that of a sparse file gives its space back."""
    if length > 0:
        deallocate = bool(_dos(control).attributes & c.FILE_ATTRIBUTE_SPARSE_FILE)
        change_range(
            control.context.token, control.open, start, length, lambda: _zero(control, start, length, deallocate)
        )


def _zero(control: Control, start: int, length: int, deallocate: bool) -> None:
    open_, token = control.open, control.context.token
    try:
        open_.chain.zero_range(token, open_.data, start, length, deallocate)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}:
            raise
        _write_zeros(control, start, length)


def _write_zeros(control: Control, start: int, length: int) -> None:
    open_, token = control.open, control.context.token
    zeros = memoryview(bytes(min(length, _PIECE)))
    done = 0
    while done < length:
        done += open_.chain.pwrite(token, open_.data, zeros[: length - done], start + done)
        breathe()


def query_allocated_ranges(control: Control) -> Information:
    """FSCTL_QUERY_ALLOCATED_RANGES (MS-FSCC 2.3.52, MS-FSA 2.1.5.10.22)."""
    control.require_file()
    control.require_any(c.FILE_READ_DATA)
    start, length = control.unpack(_RANGE)
    if start < 0 or length < 0 or start + length > _MAX_OFFSET:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a range that no file can have")
    room = min(control.max_output // _RANGE.size, _MAX_RANGES)
    found = allocated_parts(control, start, length, room + 1)
    if found and not room:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    status = NtStatus.SUCCESS if len(found) <= room else NtStatus.BUFFER_OVERFLOW
    return Information(status, b"".join(_RANGE.pack(*part) for part in found[:room]))


def allocated_parts(control: Control, start: int, length: int, limit: int) -> list[tuple[int, int]]:
    """What of a range is allocated, at most `limit` pieces; all of it for a file that is not sparse."""
    length = min(length, _size(control) - start)
    if length <= 0:
        return []
    if not _dos(control).attributes & c.FILE_ATTRIBUTE_SPARSE_FILE:
        return [(start, length)]
    open_ = control.open
    try:
        return open_.chain.allocated_ranges(control.context.token, open_.data, start, length, limit)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}:
            raise
        return [(start, length)]


def file_level_trim(control: Control) -> Information:
    """FSCTL_FILE_LEVEL_TRIM (MS-FSCC 2.3.13): the client needs these bytes no more, whatever they become.

    Whole clusters of them are given back where the file system can; how many ranges were seen to is told.
    """
    control.require_file()
    control.require_any(c.FILE_WRITE_DATA)
    key, count = control.unpack(_TRIM)
    if key or not count or len(control.input) < _TRIM.size + count * _RANGE.size:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    count = min(count, _MAX_TRIM_RANGES)
    ranges = [_RANGE.unpack_from(control.input, _TRIM.size + index * _RANGE.size) for index in range(count)]
    if Capability.SPARSE in control.open.volume.capabilities:
        for start, length in ranges:
            _trim(control, start, length)
            breathe()
    return Information(NtStatus.SUCCESS, _TRIM_ANSWER.pack(count) if control.max_output >= _TRIM_ANSWER.size else b"")


def _trim(control: Control, start: int, length: int) -> None:
    if start < 0 or length < 0:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    first = -(-start // _CLUSTER) * _CLUSTER
    length = (min(start + length, _size(control)) // _CLUSTER) * _CLUSTER - first
    open_, token = control.open, control.context.token
    if length > 0:
        with ignore_unsupported():
            change_range(
                token,
                open_,
                first,
                length,
                lambda: open_.chain.zero_range(token, open_.data, first, length, True),
            )


def query_file_regions(control: Control) -> Information:
    """FSCTL_QUERY_FILE_REGIONS (MS-FSCC 2.3.55): all of a file holds valid data here, up to its end."""
    control.require_file()
    control.require_any(c.FILE_READ_DATA)
    start, length, usage = 0, _MAX_OFFSET, _REGION_USAGES
    if control.input:
        start, length, usage = control.unpack(_REGION_INPUT)
    usage &= _REGION_USAGES
    if start < 0 or length < 0 or not usage:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    length = min(length, _size(control) - start)
    if control.max_output < _REGIONS.size:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    if length <= 0:
        return Information(NtStatus.SUCCESS, _REGIONS.pack(0, 0, 0, 0))
    if control.max_output < _REGIONS.size + _REGION.size:
        return Information(NtStatus.BUFFER_OVERFLOW, _REGIONS.pack(0, 1, 0, 0))
    return Information(NtStatus.SUCCESS, _REGIONS.pack(0, 1, 1, 0) + _REGION.pack(start, length, usage))
