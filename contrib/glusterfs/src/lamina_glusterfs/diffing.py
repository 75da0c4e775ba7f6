"""What has happened in a folder between two listings. Knows no volume.

A listing is a dict of names; what stands for each is an `Entry`, or None for one that this client itself has made since
and that is to be taken as it is found.
"""

import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lamina.vfs_modules.changes import Change, ChangeKind
from lamina.vfs_modules.operations import FileStat


class Entry(NamedTuple):
    """What is remembered of a file."""

    number: int
    is_directory: bool
    data: tuple[int, int]
    changed: int

    @classmethod
    def of(cls, found: FileStat) -> "Entry":
        """That of a stat."""
        is_directory = stat.S_ISDIR(found.mode)
        # A folder's own times tell of what is in it, which is told as such.
        data = (0, 0) if is_directory else (found.size, found.mtime_ns)
        return cls(found.ino, is_directory, data, 0 if is_directory else found.ctime_ns)


Listing = Mapping[str, Entry | None]


def changes(old: Listing, new: Mapping[str, Entry], contents: bool, own: set[int]) -> Iterator[Change]:
    """The changes that make `new` of `old`, names as paths. `contents`: also those of files, but not of the `own`."""
    gone = {name: entry for name, entry in old.items() if name not in new}
    come = {name: entry for name, entry in new.items() if name not in old}
    moved = {entry.number: name for name, entry in come.items()}
    for name, entry in gone.items():
        target = moved.pop(entry.number, "") if entry is not None else ""
        is_directory = entry is not None and entry.is_directory
        if target:
            del come[target]
            yield Change(ChangeKind.RENAMED, name, is_directory, target)
        else:
            yield Change(ChangeKind.REMOVED, name, is_directory)
    for name, entry in come.items():
        yield Change(ChangeKind.ADDED, name, entry.is_directory)
    for name, entry in new.items():
        before = old.get(name)
        if before is None or before == entry:
            continue
        if before.number != entry.number:
            # Another file has taken its name.
            yield Change(ChangeKind.REMOVED, name, before.is_directory)
            yield Change(ChangeKind.ADDED, name, entry.is_directory)
        elif contents and entry.number not in own:
            kind = ChangeKind.DATA if before.data != entry.data else ChangeKind.ATTRIBUTES
            yield Change(kind, name, entry.is_directory)
