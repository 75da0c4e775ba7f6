"""What all the structures share: names in UTF-16, the least size of each class, and answers that do not fit."""

from collections.abc import Mapping
from struct import Struct
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus, NtStatusError

Bytes = bytes | bytearray | memoryview

UINT32: Final = Struct("<I")
UINT64: Final = Struct("<Q")
INT64: Final = Struct("<q")

FILE_MINIMUM: Final[Mapping[int, int]] = {
    c.FILE_BASIC_INFORMATION: 40,
    c.FILE_STANDARD_INFORMATION: 24,
    c.FILE_INTERNAL_INFORMATION: 8,
    c.FILE_EA_INFORMATION: 4,
    c.FILE_ACCESS_INFORMATION: 4,
    c.FILE_NAME_INFORMATION: 8,
    c.FILE_POSITION_INFORMATION: 8,
    c.FILE_FULL_EA_INFORMATION: 0,
    c.FILE_MODE_INFORMATION: 4,
    c.FILE_ALIGNMENT_INFORMATION: 4,
    c.FILE_ALL_INFORMATION: 104,
    c.FILE_ALTERNATE_NAME_INFORMATION: 8,
    c.FILE_STREAM_INFORMATION: 32,
    c.FILE_PIPE_INFORMATION: 8,
    c.FILE_PIPE_LOCAL_INFORMATION: 40,
    c.FILE_PIPE_REMOTE_INFORMATION: 16,
    c.FILE_COMPRESSION_INFORMATION: 16,
    c.FILE_NETWORK_OPEN_INFORMATION: 56,
    c.FILE_ATTRIBUTE_TAG_INFORMATION: 8,
    c.FILE_NORMALIZED_NAME_INFORMATION: 8,
    c.FILE_STANDARD_LINK_INFORMATION: 12,
    c.FILE_ID_INFORMATION: 24,
    c.FILE_POSIX_INFORMATION: 80,
}
"""Bytes that the answer to a query of each file class must at least have room for: less is INFO_LENGTH_MISMATCH.

The size of the structure with a name of one character, rounded up to its alignment (MS-SMB2 3.3.5.20.1).
"""

FILESYSTEM_MINIMUM: Final[Mapping[int, int]] = {
    c.FILE_FS_VOLUME_INFORMATION: 24,
    c.FILE_FS_SIZE_INFORMATION: 24,
    c.FILE_FS_DEVICE_INFORMATION: 8,
    c.FILE_FS_ATTRIBUTE_INFORMATION: 16,
    c.FILE_FS_CONTROL_INFORMATION: 48,
    c.FILE_FS_FULL_SIZE_INFORMATION: 32,
    c.FILE_FS_OBJECT_ID_INFORMATION: 64,
    c.FILE_FS_SECTOR_SIZE_INFORMATION: 28,
    c.FILE_FS_POSIX_INFORMATION: 56,
}
"""The same for the file-system classes (MS-SMB2 3.3.5.20.2)."""


def check_room(minimum: Mapping[int, int], info_class: int, max_length: int) -> None:
    """Refuse a query before it is answered: INVALID_INFO_CLASS (class unknown) or INFO_LENGTH_MISMATCH (no room)."""
    least = minimum.get(info_class)
    if least is None:
        raise NtStatusError(NtStatus.INVALID_INFO_CLASS)
    if max_length < least:
        raise NtStatusError(NtStatus.INFO_LENGTH_MISMATCH)


def fit(data: bytes, max_length: int) -> tuple[NtStatus, bytes]:
    """The answer as it is sent: whole and SUCCESS, or cut to `max_length` and BUFFER_OVERFLOW."""
    if len(data) <= max_length:
        return NtStatus.SUCCESS, data
    return NtStatus.BUFFER_OVERFLOW, data[:max_length]


def encode_name(name: str) -> bytes:
    """UTF-16LE; lone surrogates stand for themselves."""
    return name.encode("utf-16-le", "surrogatepass")


def decode_name(data: Bytes) -> str:
    """The `str` of UTF-16LE bytes; INVALID_PARAMETER for an odd length."""
    if len(data) % 2:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a name of half a character")
    return bytes(data).decode("utf-16-le", "surrogatepass")


def require(data: Bytes, length: int) -> None:
    """INFO_LENGTH_MISMATCH unless `data` has at least `length` bytes."""
    if len(data) < length:
        raise NtStatusError(NtStatus.INFO_LENGTH_MISMATCH)


def counted_name(data: Bytes, length_offset: int) -> str:
    """The name that follows its 32-bit length in bytes at `length_offset`; it must lie within `data`."""
    require(data, length_offset + 4)
    (length,) = UINT32.unpack_from(data, length_offset)
    require(data, length_offset + 4 + length)
    return decode_name(data[length_offset + 4 : length_offset + 4 + length])
