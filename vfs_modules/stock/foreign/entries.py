"""What a foreign store says of a file, and what of that a client is told. Pure.

Stores agree on `name`, `size` and `type`; times have many names and forms. Names are those of
`lamina.vfs_modules.names`, in a form that stores can encode.
"""

import hashlib
import math
import stat as st
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import FileStat

BLOCK: Final = 4096
"""Bytes that space is told in; what a store really takes nobody says."""

_CHANGED: Final = ("mtime", "modified", "LastModified", "last_modified", "updated", "modify", "created", "timeCreated")
_SECOND: Final = 1_000_000_000
_FAR: Final = 1e11  # seconds: further than calendars go
_LARGEST: Final = 1 << 62
_STAMP: Final = "%Y%m%d%H%M%S"


class Entry(NamedTuple):
    """One file or directory of a store; `mtime_ns` is None where it tells no time.

    What some call the creation is when the store got the file, and not told as that: it changes with each writing.
    """

    is_directory: bool
    is_link: bool
    size: int
    mtime_ns: int | None


def directory_entry() -> Entry:
    """A directory of which nothing is known but that it is there."""
    return Entry(True, False, 0, None)


def entry_of(info: Mapping[str, Any]) -> Entry:
    """What the dictionary of a store says."""
    kind = info.get("type")
    size = info.get("size")
    is_file = kind == "file"
    return Entry(
        kind == "directory",
        bool(info.get("islink")) or kind not in {"file", "directory"},
        int(size) if is_file and isinstance(size, int | float) and 0 < size <= _LARGEST else 0,
        _first_time(info, _CHANGED),
    )


def _first_time(info: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        found = time_ns(info.get(name))
        if found is not None:
            return found
    return None


def time_ns(value: object) -> int | None:
    """Nanoseconds since 1970 of a moment in any of the forms that stores use; None for what is none."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return math.floor(moment.timestamp()) * _SECOND + moment.microsecond * 1000
    if isinstance(value, int | float) and not isinstance(value, bool):
        # What is no number is not less than anything.
        return round(value * 1_000_000) * 1000 if abs(value) < _FAR else None
    return _time_of_text(value) if isinstance(value, str) else None


def _time_of_text(text: str) -> int | None:
    try:
        if text[:14].isdigit():
            return time_ns(datetime.strptime(text[:14], _STAMP))
        return time_ns(datetime.fromisoformat(text))
    except ValueError:
        return None


class Shown(NamedTuple):
    """What files of this store are shown with. `dev` stands for the volume."""

    dev: int
    uid: int
    gid: int
    file_mode: int
    directory_mode: int

    def stat(self, entry: Entry, number: int, mtime_ns: int, links: int = 1) -> FileStat:
        """What is told of a file."""
        mode = st.S_IFDIR | self.directory_mode if entry.is_directory else st.S_IFREG | self.file_mode
        return FileStat(
            self.dev, number, mode, links, self.uid, self.gid, entry.size, -(-entry.size // BLOCK) * BLOCK,
            mtime_ns, mtime_ns, mtime_ns, None,
        )  # fmt: skip


def path_number(path: str) -> int:
    """The number that stands for a path: 63 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(encode_name(path), digest_size=8).digest(), "little") >> 1 or 1


def device_number(url: str) -> int:
    """The number that stands for a store."""
    return int.from_bytes(hashlib.blake2b(url.encode(), digest_size=4).digest(), "little") or 1


def to_store(path: str) -> str:
    """A path as it is handed to a store: lone surrogates only where they stand for bytes (PEP 383)."""
    return encode_name(path).decode("utf-8", "surrogateescape")


def from_store(name: str) -> str:
    """A name that a store has told. Raises UnicodeError for one that no chain can carry."""
    return decode_name(name.encode("utf-8", "surrogateescape"))
