"""Letting files share blocks (MS-FSA 2.1.5.10.4 FSCTL_DUPLICATE_EXTENTS_TO_FILE, 2.1.5.10.5 …_EX)."""

import errno
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.borders import translated
from lamina.ntfsa.content.data_change import change_data
from lamina.ntfsa.content.range_copy import CopyRange
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Capability

if TYPE_CHECKING:
    from lamina.vfs_modules.token import ImpersonationToken

_CLUSTER: Final = 4096


@translated
def duplicate_extents(context: NtContext, source: NtOpen, target: NtOpen, part: CopyRange) -> None:
    """Let a range of `target` share the blocks of one of `source`. Only a sparse target grows (MS-FSA 2.1.5.10.4).

    Raises INVALID_DEVICE_REQUEST (the file system cannot), NOT_SAME_DEVICE, ACCESS_DENIED, INVALID_PARAMETER (not
    whole clusters, overlapping, or behind the end of the target), NOT_SUPPORTED (beyond the end of the source, or a
    sparse source for a target that is not).
    """
    if Capability.REFLINK not in target.volume.capabilities:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "blocks cannot be shared here")
    if source.is_directory or target.is_directory:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a directory has no extents")
    if not source.granted_access & c.FILE_READ_DATA or not target.granted_access & c.FILE_WRITE_DATA:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    if source.volume.chain is not target.volume.chain:
        raise NtStatusError(NtStatus.NOT_SAME_DEVICE, "the two files are in different shares")
    _check_range(context.token, source, target, part)
    if not part.length:
        return
    # Byte-range locks are not in the way of this, as on ReFS (smb2.ioctl.dup_extents_src_lock, dup_extents_dest_lock).
    change_data(context.token, target, lambda: _clone(context.token, source, target, part))


def _check_range(token: "ImpersonationToken", source: NtOpen, target: NtOpen, part: CopyRange) -> None:
    source_offset, target_offset, length = part
    if min(part) < 0 or source_offset % _CLUSTER or target_offset % _CLUSTER:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "not whole clusters")
    if source.file_key == target.file_key and abs(source_offset - target_offset) < length:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "the ranges overlap")
    chain = source.volume.chain
    source_stat = source.chain.fstat(token, source.data)
    target_stat = target.chain.fstat(token, target.data)
    if source_offset + length > source_stat.size:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "beyond the end of the source")
    sparse = chain.get_dos_attributes(token, source.handle, source_stat).attributes & c.FILE_ATTRIBUTE_SPARSE_FILE
    if not chain.get_dos_attributes(token, target.handle, target_stat).attributes & c.FILE_ATTRIBUTE_SPARSE_FILE:
        if target_offset + length > target_stat.size:
            raise NtStatusError(NtStatus.NOT_SUPPORTED, "beyond the end of the target")
        if sparse:
            raise NtStatusError(NtStatus.NOT_SUPPORTED, "a sparse source for a target that is not sparse")


def _clone(token: "ImpersonationToken", source: NtOpen, target: NtOpen, part: CopyRange) -> None:
    source_offset, target_offset, length = part
    try:
        target.volume.whole_chain.clone_range(token, source.data, source_offset, target.data, target_offset, length)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, str(error)) from error
        raise
