"""NT attributes of files that have not changed since somebody looked: what nearly every open asks, without the kernel.

Changing an extended attribute changes the file's status change time, which nobody can set. So what a file's attributes
were at one such time they still are while it is the same, whoever changes the file: here, in another process, or
beside the server. Two things could break that, and are kept out: a change in the same tick of the file system's clock
(a file that changed just now is not remembered), and file systems that do not note the change (only those that are
known to do are trusted, by `syscalls.stamps_attributes`).
"""

import time
from collections import OrderedDict
from typing import Final

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.operations import DosAttributes, FileStat

MOST: Final = 16_384
"""Files that are remembered: six megabytes, and more than most clients have in hand."""

SETTLED_NS: Final = 2_000_000_000
"""How long ago a file must have changed: some file systems keep whole seconds, and the clock that they stamp with goes
up to ten milliseconds behind."""


class KnownAttributes:
    """What is known, by file; the oldest is given up first."""

    __slots__ = ("_by_file", "_stamps")

    def __init__(self) -> None:
        # To find the oldest in a dict is to pass over the places of all that were given up before it: 8 µs.
        self._by_file: OrderedDict[tuple[int, int], tuple[int, DosAttributes]] = OrderedDict()
        self._stamps: dict[int, bool] = {}

    def get(self, stat: FileStat) -> DosAttributes | None:
        """The attributes of the file as it is in `stat`; None where they are not known."""
        known = self._by_file.get((stat.dev, stat.ino))
        return known[1] if known is not None and known[0] == stat.ctime_ns else None

    def put(self, fd: int, stat: FileStat, dos: DosAttributes) -> None:
        """Remember what was found after `stat` was taken, of the file that `fd` is open on."""
        if stat.ctime_ns > time.time_ns() - SETTLED_NS or not self._is_stamped(fd, stat.dev):
            return
        by_file, key = self._by_file, (stat.dev, stat.ino)
        if key not in by_file and len(by_file) >= MOST:
            by_file.popitem(last=False)
        by_file[key] = (stat.ctime_ns, dos)

    def _is_stamped(self, fd: int, device: int) -> bool:
        stamped = self._stamps.get(device)
        if stamped is None:
            stamped = self._stamps[device] = syscalls.stamps_attributes(fd)
        return stamped
