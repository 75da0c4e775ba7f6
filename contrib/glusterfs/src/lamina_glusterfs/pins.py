"""Handles for PATH, by file: when the last name of a file goes, a brick keeps only what is open for data.

So before a name goes, each handle for PATH that this process has of the file is given a descriptor. Names that others
take away are not known of in time: what was open for PATH is gone then (ESTALE).
"""

import stat
import threading
from typing import TYPE_CHECKING

from lamina.vfs_modules.operations import FileStat

if TYPE_CHECKING:
    from lamina_glusterfs.opened import Opened
    from lamina_glusterfs.volume import Volume


class Pins:
    """Those of a volume."""

    def __init__(self, volume: "Volume") -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self._open: dict[int, set[Opened]] = {}

    def remember(self, opened: "Opened") -> None:
        """A handle was opened for PATH."""
        with self._lock:
            self._open.setdefault(opened.number, set()).add(opened)

    def forget(self, opened: "Opened") -> None:
        """It is closed."""
        if opened.access or not opened.number:
            return
        with self._lock:
            left = self._open.get(opened.number, set())
            left.discard(opened)
            if not left:
                self._open.pop(opened.number, None)

    def pin(self, status: FileStat) -> None:
        """A name of this file is about to go: keep the file for who has it open, if it is the last one."""
        if status.ino not in self._open or (status.nlink > 1 and not stat.S_ISDIR(status.mode)):
            return
        with self._lock:
            there = list(self._open.get(status.ino, ()))
        with self._volume.as_server():
            for opened in there:
                with opened.in_use():
                    opened.pin()
