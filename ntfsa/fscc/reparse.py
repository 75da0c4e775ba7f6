"""Reparse data (MS-FSCC 2.1.2): the buffers of the control codes, and what a symbolic link's holds."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa.fscc.fields import Bytes, encode_name
from lamina.ntfsa.status import NtStatus, NtStatusError

IO_REPARSE_TAG_SYMLINK: Final = 0xA000000C
MAXIMUM_REPARSE_DATA_BUFFER_SIZE: Final = 16384

_HEADER: Final = Struct("<IHH")
_GUID_HEADER: Final = Struct("<IHH16s")
_SYMLINK: Final = Struct("<HHHHI")
_MICROSOFT: Final = 0x80000000
_RESERVED_TAGS: Final = frozenset({0, 1, 2})
_SYMLINK_FLAG_RELATIVE: Final = 1


class ReparseData(NamedTuple):
    """REPARSE_DATA_BUFFER, or REPARSE_GUID_DATA_BUFFER where the tag is none of Microsoft's (`guid` is 16 bytes)."""

    tag: int
    data: bytes
    guid: bytes = b""


class SymbolicLink(NamedTuple):
    """What a symbolic link holds (2.1.2.4), its names with "\\\\" between components."""

    substitute_name: str
    print_name: str
    relative: bool


def _invalid(why: str) -> NtStatusError:
    return NtStatusError(NtStatus.IO_REPARSE_DATA_INVALID, why)


def parse_reparse_data(buffer: Bytes) -> ReparseData:
    """The whole buffer of FSCTL_SET_REPARSE_POINT or FSCTL_DELETE_REPARSE_POINT.

    Raises IO_REPARSE_DATA_INVALID for lengths that do not fit, IO_REPARSE_TAG_INVALID.
    """
    if not _HEADER.size <= len(buffer) <= MAXIMUM_REPARSE_DATA_BUFFER_SIZE:
        raise _invalid(f"a reparse buffer of {len(buffer)} bytes")
    tag, length, _ = _HEADER.unpack_from(buffer)
    if tag in _RESERVED_TAGS:
        raise NtStatusError(NtStatus.IO_REPARSE_TAG_INVALID, f"the tag {tag:#x} is reserved")
    header = _HEADER if tag & _MICROSOFT else _GUID_HEADER
    if len(buffer) != header.size + length:
        raise _invalid(f"a reparse buffer of {len(buffer)} bytes with {length} bytes of data")
    guid = b"" if tag & _MICROSOFT else bytes(_GUID_HEADER.unpack_from(buffer)[3])
    return ReparseData(tag, bytes(buffer[header.size :]), guid)


def pack_reparse_data(reparse: ReparseData) -> bytes:
    """The buffer that `parse_reparse_data` reads."""
    if reparse.tag & _MICROSOFT:
        return _HEADER.pack(reparse.tag, len(reparse.data), 0) + reparse.data
    return _GUID_HEADER.pack(reparse.tag, len(reparse.data), 0, reparse.guid) + reparse.data


def parse_symbolic_link(data: Bytes) -> SymbolicLink:
    """The data of a reparse point with the tag IO_REPARSE_TAG_SYMLINK. Raises IO_REPARSE_DATA_INVALID."""
    if len(data) < _SYMLINK.size:
        raise _invalid("a symbolic link without names")
    substitute_at, substitute_length, print_at, print_length, flags = _SYMLINK.unpack_from(data)
    names = memoryview(data)[_SYMLINK.size :]
    return SymbolicLink(
        _name(names, substitute_at, substitute_length),
        _name(names, print_at, print_length),
        bool(flags & _SYMLINK_FLAG_RELATIVE),
    )


def _name(names: memoryview, offset: int, length: int) -> str:
    if offset + length > len(names) or length % 2:
        raise _invalid("a name of a symbolic link lies outside its buffer")
    return bytes(names[offset : offset + length]).decode("utf-16-le", "surrogatepass")


def pack_symbolic_link(link: SymbolicLink) -> ReparseData:
    """A symbolic link as reparse data."""
    substitute, printed = encode_name(link.substitute_name), encode_name(link.print_name)
    flags = _SYMLINK_FLAG_RELATIVE if link.relative else 0
    fixed = _SYMLINK.pack(0, len(substitute), len(substitute), len(printed), flags)
    return ReparseData(IO_REPARSE_TAG_SYMLINK, fixed + substitute + printed)
