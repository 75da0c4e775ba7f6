"""What listings have found of the entries of directories, which have not changed since somebody looked.

Clients list the same folder again and again. An entry whose status change time is what it was has the extended
attributes that it had then (`known_attributes` says why, and where not), so it is not asked for them again: of three
system calls for an entry one is left, which says that nothing has changed.
"""

import time
from collections.abc import Iterable
from typing import Final

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.known_attributes import SETTLED_NS
from lamina.vfs_modules.operations import DirectoryEntry, DosAttributes

HALF: Final = 12_288
"""Entries after which a new generation begins. Two are kept, some eight megabytes; to give one up costs nothing."""

_new = tuple.__new__
_Known = tuple[int, DosAttributes, bool]


class KnownEntries:
    """What is known, by file."""

    __slots__ = ("_older", "_stamps", "_younger")

    def __init__(self) -> None:
        self._younger: dict[tuple[int, ...], _Known] = {}
        self._older: dict[tuple[int, ...], _Known] = {}
        self._stamps: dict[int, bool] = {}

    def fill_in(self, entries: list[DirectoryEntry]) -> list[int]:
        """Put what is known into entries that bring their status; the places of those of which nothing is."""
        younger, older = self._younger.get, self._older.get
        unknown: list[int] = []
        for place, (name, stat, _, _) in enumerate(entries):
            if stat is not None:
                key = stat[:2]
                known = younger(key) or older(key)
                if known is not None and known[0] == stat[10]:  # ctime_ns
                    entries[place] = _new(DirectoryEntry, (name, stat, known[1], known[2]))
                    continue
            unknown.append(place)
        return unknown

    def trusts(self, fd: int, device: int) -> bool:
        """Whether anything may be remembered of files of a device, which `fd` is open on."""
        stamped = self._stamps.get(device)
        if stamped is None:
            stamped = self._stamps[device] = syscalls.stamps_attributes(fd)
        return stamped

    def put(self, device: int, entries: Iterable[DirectoryEntry]) -> None:
        """Remember what was found of entries after their status was taken; of those on the device, which is trusted."""
        settled, younger = time.time_ns() - SETTLED_NS, self._younger
        for _, stat, dos, may_have_xattrs in entries:
            if stat is None or dos is None or stat.dev != device or stat.ctime_ns > settled:
                continue
            if len(younger) >= HALF:
                self._older, self._younger = younger, {}
                younger = self._younger
            younger[device, stat.ino] = (stat.ctime_ns, dos, may_have_xattrs)
