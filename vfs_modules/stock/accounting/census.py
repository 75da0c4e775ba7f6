"""The count of all files of a share, while they are used: who has how much, without anybody waiting for it.

A file is counted once, when it is come to. What changes a file that was counted changes the count; what changes
another is seen when it is come to. Only a directory that moves may be missed, and then all is counted again.
"""

import contextlib
import stat as st
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, FileStat, OpenHow, Operations
from lamina.vfs_modules.quotas import QuotaKind
from lamina.vfs_modules.stock.accounting.ledger import Owner
from lamina.vfs_modules.token import SERVER_TOKEN

_LIST: Final = OpenHow(Access.READ, directory=True, follow=False)
_AT_ONCE: Final = 200
_PASSES: Final = 3

FileKey = tuple[int, int]


class Census:
    """One count of the files beneath `root`, on its device; not those in the folders `exclude` of the root."""

    def __init__(self, below: Operations, root: VfsHandle, exclude: Sequence[str]) -> None:
        self._below, self._root, self._exclude = below, root, frozenset(exclude)
        self._seen: set[FileKey] = set()
        self._steps = 0
        self.counted: dict[Owner, int] = {}
        self.total = 0
        self.ended = False
        self.moved = False

    def count(self) -> bool:
        """Count; False where it was ended. Raises OSError where the root cannot be read."""
        device = self._below.fstat(SERVER_TOKEN, self._root).dev
        for _ in range(_PASSES):
            self._seen, self.counted, self.total, self.moved = set(), {}, 0, False
            self._begin()
            self._folder(device, "")
            if self.ended or not self.moved:
                break
        return not self.ended

    def _begin(self) -> None:
        """A count begins, perhaps again."""

    def _folder(self, device: int, top: str) -> None:
        todo = [top]
        while todo and not self.ended:
            path = todo.pop()
            # What has gone meanwhile, or may not be looked into, is not counted.
            with contextlib.suppress(OSError):
                todo += self._entries(device, path)

    def _entries(self, device: int, path: str) -> list[str]:
        folders = []
        handle = self._below.open(SERVER_TOKEN, self._root, path, _LIST)
        try:
            for entry in self._below.readdir(SERVER_TOKEN, handle, True):
                if self.ended:
                    break
                self._step()
                if not path and entry.name in self._exclude:
                    continue
                with contextlib.suppress(OSError):
                    stat = entry.stat or self._below.stat(SERVER_TOKEN, handle, entry.name)
                    if st.S_ISDIR(stat.mode) and stat.dev == device:
                        folders.append(f"{path}/{entry.name}".lstrip("/"))
                    elif st.S_ISREG(stat.mode):
                        self.meet(stat)
        finally:
            self._below.close(SERVER_TOKEN, handle)
        return folders

    def _step(self) -> None:
        self._steps += 1
        if not self._steps % _AT_ONCE:
            breathe()

    # What happens meanwhile.

    def meet(self, stat: FileStat) -> None:
        """Count a file unless it is counted."""
        key = (stat.dev, stat.ino)
        if key not in self._seen:
            self._seen.add(key)
            self._add(stat.uid, stat.gid, stat.size)

    def change(self, key: FileKey, uid: int, gid: int, change: int) -> None:
        """A file has got larger or smaller."""
        if key in self._seen:
            self._add(uid, gid, change)

    def _add(self, uid: int, gid: int, change: int) -> None:
        for owner in ((QuotaKind.USER, uid), (QuotaKind.GROUP, gid)):
            self.counted[owner] = self.counted.get(owner, 0) + change
        self.total += change

    def result(self) -> Mapping[Owner, int]:
        """What everybody has."""
        return {owner: used for owner, used in self.counted.items() if used > 0}


Word = tuple[int, int, int]
"""Whose a file is by now, and its size."""

MOVED: Final[FileKey] = (-1, -1)
"""A word about this file says that a folder was moved."""


class ToldCensus(Census):
    """A count that learns by word from other processes what they do, sooner or later than it comes to the file.

    A word says what holds from then on. So what is told counts, whatever is found.
    """

    def __init__(
        self,
        below: Operations,
        root: VfsHandle,
        exclude: Sequence[str],
        words: Callable[[], Sequence[tuple[FileKey, Word]]],
    ) -> None:
        super().__init__(below, root, exclude)
        self._words = words
        self._told: dict[FileKey, Word] = {}
        self._found: dict[FileKey, Word] = {}

    def _begin(self) -> None:
        self._found = {}

    def _step(self) -> None:
        super()._step()
        if not self._steps % _AT_ONCE:
            self.hear(self._words())

    def hear(self, words: Sequence[tuple[FileKey, Word]]) -> None:
        """Take words for what holds."""
        for key, word in words:
            if key == MOVED:
                self.moved = True
                continue
            self._told[key] = word
            if key in self._found:
                self._count(key, word)

    def meet(self, stat: FileStat) -> None:
        """Count a file unless it is counted, by what was told of it."""
        key = (stat.dev, stat.ino)
        if key not in self._found:
            self._count(key, self._told.get(key) or (stat.uid, stat.gid, stat.size))

    def _count(self, key: FileKey, word: Word) -> None:
        before = self._found.get(key)
        if before is not None:
            self._add(before[0], before[1], -before[2])
        self._found[key] = word
        self._add(*word)
