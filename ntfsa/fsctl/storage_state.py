"""How a file is stored: FSCTL_GET_COMPRESSION and SET_COMPRESSION, GET_ and SET_INTEGRITY_INFORMATION.

MS-FSA 2.1.5.10, MS-FSCC 2.3. Compression is the file system's own, in its own format: to clients it is LZNT1, the one
that NTFS has. Checksums are the file system's business and cannot be asked for.
"""

from struct import Struct
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.notify_information import FILE_NOTIFY_CHANGE_ATTRIBUTES
from lamina.ntfsa.fsctl.control import NOTHING, Control
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Capability

_STATE: Final = Struct("<H")
_COMPRESSION_FORMAT_NONE: Final = 0
_COMPRESSION_FORMAT_DEFAULT: Final = 1
_COMPRESSION_FORMAT_LZNT1: Final = 2
_INTEGRITY_INPUT: Final = Struct("<HHI")
_INTEGRITY: Final = Struct("<HHIII")
_CHECKSUM_TYPE_NONE: Final = 0x0000
_CHECKSUM_TYPE_UNCHANGED: Final = 0xFFFF
_CLUSTER: Final = 4096


def get_compression(control: Control) -> Information:
    """MS-FSCC 2.3.17 FSCTL_GET_COMPRESSION Reply."""
    if control.max_output < _STATE.size:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    open_ = control.open
    compressed = open_.volume.chain.fstat(control.context.token, open_.handle).compressed
    return control.answer(_STATE.pack(_COMPRESSION_FORMAT_LZNT1 if compressed else _COMPRESSION_FORMAT_NONE))


def set_compression(control: Control) -> Information:
    """MS-FSCC 2.3.67 FSCTL_SET_COMPRESSION Request: whoever may write the data may say how it is kept."""
    control.require_any(c.FILE_WRITE_DATA)
    (wanted,) = control.unpack(_STATE)
    if wanted > _COMPRESSION_FORMAT_LZNT1:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "an unknown compression format")
    open_, token = control.open, control.context.token
    if Capability.COMPRESSION not in open_.volume.capabilities:
        if wanted != _COMPRESSION_FORMAT_NONE:
            raise NtStatusError(NtStatus.NOT_SUPPORTED, "this file system does not compress")
        return NOTHING
    open_.volume.chain.set_compressed(token, open_.handle, wanted != _COMPRESSION_FORMAT_NONE)
    if open_.volume.watchers is not None:
        open_.volume.watchers.modified(open_.vfs_path, FILE_NOTIFY_CHANGE_ATTRIBUTES)
    return NOTHING


def get_integrity(control: Control) -> Information:
    """MS-FSCC 2.3.27 FSCTL_GET_INTEGRITY_INFORMATION Reply: no checksums that clients could rely on."""
    return control.answer(_INTEGRITY.pack(_CHECKSUM_TYPE_NONE, 0, 0, 0, _CLUSTER))


def set_integrity(control: Control) -> Information:
    """MS-FSCC 2.3.73 FSCTL_SET_INTEGRITY_INFORMATION Request: only "none" and "unchanged" can be had."""
    control.require_any(c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES)
    algorithm, _, _ = control.unpack(_INTEGRITY_INPUT)
    if algorithm not in {_CHECKSUM_TYPE_NONE, _CHECKSUM_TYPE_UNCHANGED}:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "there are no checksums to be chosen")
    return NOTHING
