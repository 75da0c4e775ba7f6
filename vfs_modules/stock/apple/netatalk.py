"""What Netatalk keeps in an extended attribute: AppleDouble without a resource fork, 402 bytes with eight entries."""

from struct import Struct
from typing import Final

from lamina.vfs_modules.stock.apple.afp_info import FINDER_SIZE, NEVER, NO_FINDER, AfpInfo
from lamina.vfs_modules.stock.apple.appledouble import (
    AFP_FILE_INFO,
    FILE_DATES,
    FINDER_INFO,
    MAGIC,
    VERSION,
    AppleDoubleError,
    parse_table,
)

ATTRIBUTE: Final = "user.org.netatalk.Metadata"
"""The name of the attribute."""

SIZE: Final = 402
MAX_SIZE: Final = 4096
"""Bytes of an attribute that are looked at."""

_COMMENT: Final = 4
# Netatalk's own: device, inode, synchronisation stamp and id of the file.
_PRIVATE: Final = ((0x80444556, 374, 8), (0x80494E4F, 382, 8), (0x8053594E, 390, 8), (0x8053567E, 398, 4))
_ENTRIES: Final = (
    (FINDER_INFO, 122, 32),
    (_COMMENT, 154, 0),
    (FILE_DATES, 354, 16),
    (AFP_FILE_INFO, 370, 4),
    *_PRIVATE,
)
_HEADER: Final = Struct(">II16xH")
_ENTRY: Final = Struct(">III")
_DATE: Final = Struct(">I")
_BACKUP_IN_DATES: Final = 8
_DATES: Final = 16


def parse(value: bytes) -> AfpInfo | None:
    """What an attribute says; None for one that is none of Netatalk's."""
    if len(value) > MAX_SIZE:
        return None
    try:
        entries = parse_table(value, len(value))
    except AppleDoubleError:
        return None
    finder, dates = entries.get(FINDER_INFO), entries.get(FILE_DATES)
    if finder is None or finder.length < FINDER_SIZE:
        return None
    backup = NEVER
    if dates is not None and dates.length >= _DATES:
        backup = _DATE.unpack_from(value, dates.offset + _BACKUP_IN_DATES)[0]
    return AfpInfo(value[finder.offset : finder.offset + FINDER_SIZE], backup)


def _new() -> bytes:
    value = bytearray(SIZE)
    _HEADER.pack_into(value, 0, MAGIC, VERSION, len(_ENTRIES))
    for index, entry in enumerate(_ENTRIES):
        _ENTRY.pack_into(value, _HEADER.size + index * _ENTRY.size, *entry)
    for date in range(354, 354 + _DATES, _DATE.size):
        _DATE.pack_into(value, date, NEVER)
    return bytes(value)


def updated(value: bytes | None, info: AfpInfo) -> bytes:
    """The attribute that says `info`; what else the old one `value` says, if it is one, stays."""
    kept = value if value is not None and parse(value) is not None else _new()
    entries = parse_table(kept, len(kept))
    changed = bytearray(kept)
    finder = entries[FINDER_INFO]
    changed[finder.offset : finder.offset + FINDER_SIZE] = info.finder.ljust(FINDER_SIZE, b"\0")
    dates = entries.get(FILE_DATES)
    if dates is not None and dates.length >= _DATES:
        _DATE.pack_into(changed, dates.offset + _BACKUP_IN_DATES, info.backup_time)
    return bytes(changed)


EMPTY: Final = AfpInfo(NO_FINDER)
"""What a file without the attribute says."""
