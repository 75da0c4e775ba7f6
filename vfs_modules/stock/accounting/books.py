"""The books of a share: the ledger, and what is booked of the files that are open to be written to; in one process.

A file's size is booked when it is to grow, and looked at again when it is closed: others may have changed it.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import FileStat, Operations
from lamina.vfs_modules.stock.accounting.census import Census, FileKey
from lamina.vfs_modules.stock.accounting.ledger import Ledger

Clock = Callable[[], float]


class Booked(Protocol):
    """A file that is open to be written to, once for all its handles: whose it is, and the size that is booked."""

    @property
    def key(self) -> FileKey:
        """Which file it is."""
        ...

    @property
    def size(self) -> int:
        """The bytes that are booked."""
        ...


class BookKeeping(Protocol):
    """What the module does with its books."""

    census: Census | None
    """The count that goes on in this process."""

    def begin(self, kept: Ledger | None, is_exact: bool, always: bool) -> bool:
        """Serve from now on, with what was kept; whether to count, as is always wanted or because it is not exact."""
        ...

    def end(self) -> bytes:
        """Serve no longer; what is to be kept."""
        ...

    def make_census(self, below: Operations, root: VfsHandle, exclude: Sequence[str]) -> Census:
        """A count that learns what happens meanwhile."""
        ...

    def counted(self, census: Census) -> None:
        """What was counted is what there is."""
        ...

    def count_ended(self) -> None:
        """No count goes on in this process any more."""
        ...

    @property
    def is_counting(self) -> bool:
        """Whether a count goes on, wherever."""
        ...

    def ledger(self) -> AbstractContextManager[Ledger]:
        """The ledger, to look at or change in a with block in which nothing waits."""
        ...

    def opened(self, stat: FileStat) -> Booked:
        """One more handle of a file that may be written to."""
        ...

    def closed(self, file: Booked) -> None:
        """One less; what has no name any more is free with the last."""
        ...

    def grow(self, file: Booked, size: int, is_free: bool, at_least: bool = False) -> None:
        """Let a file have a size, or at least that. Raises EDQUOT or ENOSPC, unless it is free."""
        ...

    def settle(self, file: Booked, size: int) -> None:
        """Book the size that a file really has."""
        ...

    def gone(self, stat: FileStat) -> None:
        """A file has lost its last name."""
        ...

    def given(self, stat: FileStat, uid: int, gid: int) -> None:
        """A file has another owner and group than in its `stat`."""
        ...

    def met(self, stat: FileStat) -> None:
        """Something may be new where was counted before."""
        ...

    def folder_moved(self) -> None:
        """A folder has another place, in which files may have been missed."""
        ...


class _File:
    __slots__ = ("gid", "handles", "key", "nameless", "size", "uid")

    def __init__(self, stat: FileStat) -> None:
        self.key: FileKey = (stat.dev, stat.ino)
        self.uid, self.gid, self.size = stat.uid, stat.gid, stat.size
        self.handles = 0
        self.nameless = False


class LocalBooks:
    """The books of a server of one process."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._files: dict[FileKey, _File] = {}
        self.census: Census | None = None

    def begin(self, kept: Ledger | None, is_exact: bool, always: bool) -> bool:
        """Serve from now on."""
        if kept is not None:
            self._ledger.become(kept)
        return always or not is_exact

    def end(self) -> bytes:
        """Serve no longer."""
        return self._ledger.pack(self.census is None)

    def make_census(self, below: Operations, root: VfsHandle, exclude: Sequence[str]) -> Census:
        """A count that is told of each change."""
        self.census = Census(below, root, exclude)
        return self.census

    def counted(self, census: Census) -> None:
        """What was counted is what there is."""
        self._ledger.count_as(census.result(), max(census.total, 0), self._clock())

    def count_ended(self) -> None:
        """No count goes on."""
        self.census = None

    @property
    def is_counting(self) -> bool:
        """Whether a count goes on."""
        return self.census is not None

    def ledger(self) -> AbstractContextManager[Ledger]:
        """The ledger."""
        return nullcontext(self._ledger)

    def opened(self, stat: FileStat) -> _File:
        """One more handle."""
        file = self._files.get((stat.dev, stat.ino))
        if file is None:
            file = self._files[stat.dev, stat.ino] = _File(stat)
        file.handles += 1
        return file

    def closed(self, file: Booked) -> None:
        """One less."""
        assert isinstance(file, _File)
        file.handles -= 1
        if file.handles:
            return
        if file.nameless:
            self._book(file.key, file.uid, file.gid, -file.size)
        else:
            del self._files[file.key]

    def grow(self, file: Booked, size: int, is_free: bool, at_least: bool = False) -> None:
        """Let a file have a size."""
        assert isinstance(file, _File)
        change = size - file.size
        if not change or (at_least and change < 0):
            return
        refusal = 0 if is_free else self._ledger.refusal(file.uid, file.gid, change, self._clock())
        if refusal:
            raise OSError(refusal, os.strerror(refusal))
        file.size = size
        self._book(file.key, file.uid, file.gid, change)

    def _book(self, key: FileKey, uid: int, gid: int, change: int) -> None:
        self._ledger.book(uid, gid, change, self._clock())
        if self.census is not None:
            self.census.change(key, uid, gid, change)

    def settle(self, file: Booked, size: int) -> None:
        """Book the size that a file has."""
        assert isinstance(file, _File)
        if size != file.size:
            change, file.size = size - file.size, size
            self._book(file.key, file.uid, file.gid, change)

    def gone(self, stat: FileStat) -> None:
        """A file has lost its last name."""
        key = (stat.dev, stat.ino)
        file = self._files.pop(key, None)  # the number may be another file's soon
        if file is not None:
            file.nameless = True
        else:
            self._book(key, stat.uid, stat.gid, -stat.size)

    def given(self, stat: FileStat, uid: int, gid: int) -> None:
        """A file has another owner."""
        key = (stat.dev, stat.ino)
        file = self._files.get(key)
        size = stat.size if file is None else file.size
        self._book(key, stat.uid, stat.gid, -size)
        self._book(key, uid, gid, size)
        if file is not None:
            file.uid, file.gid = uid, gid

    def met(self, stat: FileStat) -> None:
        """Something may be new."""
        if self.census is not None:
            self.census.meet(stat)

    def folder_moved(self) -> None:
        """A folder has another place."""
        if self.census is not None:
            self.census.moved = True
