"""What the command modules share: checked access to parts of a message.

Every offset and length of the wire goes through here before it is used.
"""

import codecs
from struct import Struct
from struct import error as struct_error
from typing import Any, Final, Protocol

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.errors import WireError

EMPTY: Final = memoryview(b"")
# At half the price of `str`, which looks for the codec first and then calls this through two others.
_decode: Final = codecs.utf_16_le_decode


class FileInformation(Protocol):
    """What CREATE and CLOSE responses tell of a file: times as FILETIME, sizes in bytes (MS-FSCC 2.4.29)."""

    @property
    def creation_time(self) -> int: ...  # noqa: D102 - the field of that name
    @property
    def last_access_time(self) -> int: ...  # noqa: D102
    @property
    def last_write_time(self) -> int: ...  # noqa: D102
    @property
    def change_time(self) -> int: ...  # noqa: D102
    @property
    def allocation_size(self) -> int: ...  # noqa: D102
    @property
    def end_of_file(self) -> int: ...  # noqa: D102
    @property
    def file_attributes(self) -> int: ...  # noqa: D102


def unpack_body(layout: Struct, message: memoryview, structure_size: int, what: str) -> tuple[Any, ...]:
    """The fixed fields of the body of `message`, without StructureSize, which `layout` begins with and is checked."""
    try:
        size, *values = layout.unpack_from(message, HEADER_SIZE)
    except struct_error:
        raise too_short(message, layout, what) from None
    if size != structure_size:
        raise wrong_size(size, structure_size, what)
    return tuple(values)


def too_short(message: memoryview, layout: Struct, what: str) -> WireError:
    """The error for a message that ends before its fixed part does."""
    return WireError(f"{what} of {len(message)} bytes; its fixed part alone has {HEADER_SIZE + layout.size}")


def wrong_size(size: int, expected: int, what: str) -> WireError:
    """The error for a wrong StructureSize."""
    return WireError(f"{what} with StructureSize {size} instead of {expected}")


def unpack_at(layout: Struct, data: memoryview, offset: int, what: str) -> tuple[Any, ...]:
    """The fields of `layout` at `offset` of `data`."""
    try:
        return layout.unpack_from(data, offset)
    except struct_error:
        raise WireError(f"{what} is cut short: {max(len(data) - offset, 0)} of {layout.size} bytes") from None


def take(message: memoryview, offset: int, length: int, first: int, what: str) -> memoryview:
    """`length` bytes at `offset` of `message`; they must not begin before `first`, where the variable part does.

    The offset of an empty field is not looked at: clients leave anything in it.
    """
    if not length:
        return EMPTY
    if offset < first:
        raise WireError(f"{what} at offset {offset} lies inside the fixed part, which has {first} bytes")
    end = offset + length
    if end > len(message):
        raise WireError(f"{what} ends at {end}, behind the end of the message at {len(message)}")
    return message[offset:end]


def decode_name(data: memoryview, what: str) -> str:
    """Text in UTF-16LE. Windows names may hold lone surrogates; they are kept."""
    if len(data) % 2:
        raise WireError(f"{what} has an odd number of bytes ({len(data)}): not UTF-16")
    try:
        return _decode(data, "surrogatepass", True)[0]
    except UnicodeDecodeError as error:
        raise WireError(f"{what} is not UTF-16: {error.reason}") from None


def encode_name(name: str) -> bytes:
    """The inverse of decode_name."""
    return name.encode("utf-16-le", "surrogatepass")


def align8(length: int) -> int:
    """`length` rounded up to a multiple of 8."""
    return (length + 7) & ~7


def pad8(data: bytes) -> bytes:
    """`data` with zeros up to a multiple of 8 bytes."""
    return data.ljust(align8(len(data)), b"\0")
