"""AppleDouble, version 2: the header file "._NAME" that Macs keep beside a file on foreign file systems.

A table of entries (id, offset, length) and what they lead to. Two are of interest: the Finder information, to which
macOS appends the file's extended attributes, and the resource fork. What comes from outside is hostile: every offset is
checked, and nothing is read that the table does not lead to.
"""

from struct import Struct
from typing import Final, NamedTuple

MAGIC: Final = 0x00051607
VERSION: Final = 0x00020000

RESOURCE_FORK: Final = 2
FINDER_INFO: Final = 9
FILE_DATES: Final = 8
AFP_FILE_INFO: Final = 14

FORK_OFFSET: Final = 82
"""Where the resource fork begins in a header file as it is made here: behind two entries and the Finder information."""

FORK_LENGTH_OFFSET: Final = 46
"""Where such a header file says how long the resource fork is."""

FINDER_OFFSET: Final = 50
FINDER_SIZE: Final = 32

MAX_HEADER: Final = 65_536 + 4096
"""Bytes of a header file before the resource fork that are looked at; macOS keeps at most 64 KiB of attributes."""

MAX_FORK: Final = 0xFFFFFFFF - FORK_OFFSET
"""Bytes of a resource fork: its length has 32 bits."""

_HEADER: Final = Struct(">II16sH")
_ENTRY: Final = Struct(">III")
_ATTRIBUTES: Final = Struct(">4sIIII12xHH")
_ATTRIBUTE: Final = Struct(">IIHB")
_FILLER: Final = b"Lamina".ljust(16)
_ATTRIBUTES_MAGIC: Final = b"ATTR"
_MAX_ENTRIES: Final = 32
_MAX_ATTRIBUTES: Final = 512

BLANK_FORK_SIZE: Final = 286
"""Bytes of the resource fork that macOS writes where there is none."""

_BLANK_TEXT: Final = b"This resource fork intentionally left blank   "
_BLANK_TEXT_OFFSET: Final = 16


class Entry(NamedTuple):
    """One entry of the table, in bytes from the beginning of the file."""

    offset: int
    length: int


class AppleDoubleError(ValueError):
    """What is no AppleDouble, or leads out of itself."""


def parse_table(data: bytes, size: int) -> dict[int, Entry]:
    """The entries of a header file of `size` bytes that begins with `data`, by id. Raises AppleDoubleError."""
    if len(data) < _HEADER.size:
        raise AppleDoubleError("shorter than a header")
    magic, version, _, count = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise AppleDoubleError("not AppleDouble version 2")
    if count > _MAX_ENTRIES or _HEADER.size + count * _ENTRY.size > len(data):
        raise AppleDoubleError(f"{count} entries")
    found: dict[int, Entry] = {}
    for index in range(count):
        kind, offset, length = _ENTRY.unpack_from(data, _HEADER.size + index * _ENTRY.size)
        if kind in found:
            raise AppleDoubleError(f"entry {kind} twice")
        if offset > size or (length > size - offset and kind != RESOURCE_FORK):
            raise AppleDoubleError(f"entry {kind} leads out of the file")
        found[kind] = Entry(offset, min(length, size - offset))
    return found


def parse_attributes(data: bytes, finder: Entry) -> dict[str, bytes]:
    """The extended attributes that macOS keeps behind the Finder information, by name. Raises AppleDoubleError."""
    end = min(finder.offset + finder.length, len(data))
    start = finder.offset + FINDER_SIZE + 2
    if start + _ATTRIBUTES.size > end:
        return {}
    magic, _, total, _, _, _, count = _ATTRIBUTES.unpack_from(data, start)
    if magic != _ATTRIBUTES_MAGIC:
        return {}
    if total > len(data) or count > _MAX_ATTRIBUTES:
        raise AppleDoubleError(f"{count} attributes in {total} bytes")
    found: dict[str, bytes] = {}
    at = start + _ATTRIBUTES.size
    for _ in range(count):
        name, value, at = _parse_attribute(data, at, end)
        found[name] = value
    return found


def _parse_attribute(data: bytes, at: int, end: int) -> tuple[str, bytes, int]:
    if at + _ATTRIBUTE.size > end:
        raise AppleDoubleError("an attribute behind the end")
    offset, length, _, name_length = _ATTRIBUTE.unpack_from(data, at)
    name_at = at + _ATTRIBUTE.size
    if name_length < 2 or name_at + name_length > end or offset > end or length > end - offset:
        raise AppleDoubleError("an attribute that leads out of the Finder information")
    raw = data[name_at : name_at + name_length]
    name = raw.rstrip(b"\0").decode("utf-8", "replace")
    if not name or "\0" in name or "/" in name:
        raise AppleDoubleError("an attribute with no name that a stream could have")
    return name, bytes(data[offset : offset + length]), (name_at + name_length + 3) & ~3


def new_header(finder: bytes = bytes(FINDER_SIZE), fork_length: int = 0) -> bytes:
    """The beginning of a header file as it is made here, up to the resource fork."""
    entries = ((FINDER_INFO, FINDER_OFFSET, FINDER_SIZE), (RESOURCE_FORK, FORK_OFFSET, fork_length))
    table = b"".join(_ENTRY.pack(*entry) for entry in entries)
    return _HEADER.pack(MAGIC, VERSION, _FILLER, len(entries)) + table + finder


def is_as_made_here(entries: dict[int, Entry]) -> bool:
    """Whether a header file has the layout of `new_header`, which Samba and Netatalk write too."""
    finder, fork = entries.get(FINDER_INFO), entries.get(RESOURCE_FORK)
    return (
        len(entries) == 2
        and finder == (FINDER_OFFSET, FINDER_SIZE)
        and fork is not None
        and fork.offset == FORK_OFFSET
    )  # fmt: skip


def is_blank_fork(fork: bytes) -> bool:
    """Whether a resource fork is the one that macOS writes where there is none."""
    text = fork[_BLANK_TEXT_OFFSET : _BLANK_TEXT_OFFSET + len(_BLANK_TEXT)]
    return len(fork) == BLANK_FORK_SIZE and text == _BLANK_TEXT
