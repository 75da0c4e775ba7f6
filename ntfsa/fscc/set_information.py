"""What clients ask to be set about one file (MS-FSCC 2.4), parsed and checked.

Too few bytes are INFO_LENGTH_MISMATCH, values that mean nothing INVALID_PARAMETER. What is allowed is not known here.
"""

from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa.constants import FILE_RENAME_REPLACE_IF_EXISTS
from lamina.ntfsa.fscc.fields import INT64, UINT32, Bytes, counted_name, require
from lamina.ntfsa.status import NtStatus, NtStatusError

_BASIC: Final = Struct("<4qI")
_RENAME: Final = Struct("<IIQ")


class BasicInformation(NamedTuple):
    """MS-FSCC 2.4.7. Times are signed FILETIME: 0 leaves alone, -1 and -2 stop and restart automatic updates."""

    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    file_attributes: int


class RenameInformation(NamedTuple):
    """A new name (from the share's root, "\\" separators) and FILE_RENAME_* flags."""

    flags: int
    name: str

    @property
    def replace(self) -> bool:
        """Whether an existing target goes."""
        return bool(self.flags & FILE_RENAME_REPLACE_IF_EXISTS)


def parse_basic(data: Bytes) -> BasicInformation:
    """MS-FSCC 2.4.7 FileBasicInformation; times below -2 are INVALID_PARAMETER."""
    require(data, 40)
    basic = BasicInformation._make(_BASIC.unpack_from(data))
    if min(basic[:4]) < -2:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a time before 1601")
    return basic


def parse_rename(data: Bytes) -> RenameInformation:
    """MS-FSCC 2.4.42.2 FileRenameInformation for SMB2."""
    return _parse_new_name(data, with_flags=False)


def parse_rename_ex(data: Bytes) -> RenameInformation:
    """MS-FSCC 2.4.43 FileRenameInformationEx."""
    return _parse_new_name(data, with_flags=True)


def parse_link(data: Bytes) -> RenameInformation:
    """MS-FSCC 2.4.28.2 FileLinkInformation for SMB2."""
    return _parse_new_name(data, with_flags=False)


def _parse_new_name(data: Bytes, with_flags: bool) -> RenameInformation:
    require(data, 20)
    flags, _, root_directory = _RENAME.unpack_from(data)
    if not with_flags:
        # ReplaceIfExists is one byte and a Boolean: everything but zero is true; the bytes after it mean nothing.
        flags = 1 if flags & 0xFF else 0
    name = counted_name(data, 16)
    if root_directory or not name:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a name relative to a handle, or none")
    return RenameInformation(flags, name)


def parse_short_name(data: Bytes) -> str:
    """MS-FSCC 2.4.40 FileShortNameInformation: "" takes the short name away."""
    require(data, 4)
    return counted_name(data, 0)


def parse_disposition(data: Bytes) -> bool:
    """MS-FSCC 2.4.11 FileDispositionInformation: whether the file is to be deleted."""
    require(data, 1)
    return data[0] != 0


def parse_disposition_ex(data: Bytes) -> int:
    """MS-FSCC 2.4.12 FileDispositionInformationEx: FILE_DISPOSITION_* flags; unknown ones are INVALID_PARAMETER."""
    flags = parse_uint32(data)
    if flags & ~0x1F:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    return flags


def parse_size(data: Bytes) -> int:
    """FileEndOfFile-, FileAllocation-, FileValidDataLength- and FilePositionInformation: one number of bytes.

    Negative is INVALID_PARAMETER.
    """
    require(data, 8)
    (size,) = INT64.unpack_from(data)
    if size < 0:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a negative size")
    return int(size)


def parse_uint32(data: Bytes) -> int:
    """The classes of one 32-bit number: FileModeInformation."""
    require(data, 4)
    return int(UINT32.unpack_from(data)[0])


def parse_label(data: Bytes) -> str:
    """MS-FSCC 2.5.5 FileFsLabelInformation: at most 32 characters."""
    label = counted_name(data, 0)
    if len(label) > 32:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    return label
