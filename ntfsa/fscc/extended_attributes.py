"""Lists of extended attributes (MS-FSCC 2.4.16 FileFullEaInformation, 2.4.16.1 FILE_GET_EA_INFORMATION).

Names are one byte a character, case-insensitive and without what FAT reserved; values are bytes.
"""

import re
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa.fscc.fields import UINT32, Bytes
from lamina.ntfsa.status import NtStatus, NtStatusError

_FULL: Final = Struct("<IBBH")
_GET: Final = Struct("<IB")

FILE_NEED_EA: Final = 0x80
"""Flag: whoever does not understand this attribute must not open the file."""

MAX_LIST: Final = 0x10000
"""Bytes of a list that a client may give: as many as the attributes of one file may have, padded."""

# What a name may not hold: what FAT reserves but for the period, and control characters.
_ILLEGAL = re.compile(rb'[\x00-\x1f"*+,/:;<=>?\[\\\]|]').search


class ExtendedAttribute(NamedTuple):
    """One attribute; `name` without its terminator."""

    name: str
    value: bytes
    flags: int = 0


def _inconsistent() -> NtStatusError:
    return NtStatusError(NtStatus.EA_LIST_INCONSISTENT)


def _entries(data: Bytes, fixed: int) -> Iterator[int]:
    """Offsets of the entries of a chained list, each with at least `fixed` bytes."""
    if len(data) > MAX_LIST:
        # Each entry costs the server calls of the file system, in which nobody else is served.
        raise NtStatusError(NtStatus.EA_TOO_LARGE, f"a list of {len(data)} bytes")
    offset = 0
    while True:
        if offset + fixed > len(data):
            raise _inconsistent()
        yield offset
        (following,) = UINT32.unpack_from(data, offset)
        if not following:
            return
        if following % 4 or following < fixed:
            raise _inconsistent()
        offset += following


def _name(data: Bytes, offset: int, length: int) -> str:
    # The terminator is not counted, but must be there.
    if offset + length + 1 > len(data) or data[offset + length]:
        raise _inconsistent()
    name = bytes(data[offset : offset + length])
    if not name or _ILLEGAL(name):
        raise NtStatusError(NtStatus.INVALID_EA_NAME)
    return name.decode("utf-8", "surrogateescape")


def parse_full_ea(data: Bytes) -> list[ExtendedAttribute]:
    """FILE_FULL_EA_INFORMATION list. Raises EA_LIST_INCONSISTENT, EA_TOO_LARGE, INVALID_EA_NAME."""
    attributes = []
    for offset in _entries(data, _FULL.size):
        _, flags, name_length, value_length = _FULL.unpack_from(data, offset)
        begin = offset + _FULL.size
        name = _name(data, begin, name_length)
        begin += name_length + 1
        if begin + value_length > len(data):
            raise _inconsistent()
        attributes.append(ExtendedAttribute(name, bytes(data[begin : begin + value_length]), flags))
    return attributes


def parse_get_ea(data: Bytes) -> list[str]:
    """FILE_GET_EA_INFORMATION list: the names asked for. Raises EA_LIST_INCONSISTENT, EA_TOO_LARGE, INVALID_EA_NAME."""
    names = []
    for offset in _entries(data, _GET.size):
        _, name_length = _GET.unpack_from(data, offset)
        names.append(_name(data, offset + _GET.size, name_length))
    return names


def full_ea_size(attributes: Iterable[ExtendedAttribute]) -> int:
    """Bytes of the packed list: what FileEaInformation says (MS-FSCC 2.4.13); 0 without attributes."""
    size = 0
    for attribute in attributes:
        size = ((size + 3) & ~3) + _FULL.size + len(_encoded(attribute)) + 1 + len(attribute.value)
    return size


def pack_full_ea(attributes: Iterable[ExtendedAttribute], max_length: int) -> tuple[bytes, int]:
    """The list with as many attributes as fit, from the first, and how many that were.

    A name longer than 255 bytes or a value longer than 65,535 cannot be told and is a ValueError.
    """
    packed = bytearray()
    last = count = 0
    for attribute in attributes:
        name = _encoded(attribute)
        if len(name) > 0xFF or len(attribute.value) > 0xFFFF:
            raise ValueError(f"extended attribute {attribute.name!r} is too large")
        start = (len(packed) + 3) & ~3
        entry_size = _FULL.size + len(name) + 1 + len(attribute.value)
        if start + entry_size > max_length:
            break
        packed += bytes(start - len(packed))
        following = (entry_size + 3) & ~3
        packed += _FULL.pack(following, attribute.flags, len(name), len(attribute.value))
        packed += name + b"\0" + attribute.value
        last = start
        count += 1
    if count:
        UINT32.pack_into(packed, last, 0)
    return bytes(packed), count


def _encoded(attribute: ExtendedAttribute) -> bytes:
    return attribute.name.encode("utf-8", "surrogateescape")
