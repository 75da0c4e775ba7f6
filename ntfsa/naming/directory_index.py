"""The folded-name index of a directory: finding a name whatever its case, without reading the directory again.

A directory is read once, when a name is first missed in it. From then on the index is kept true by the events of a
watch, which are drained before each use; so it is exact also when somebody changes the directory behind our back.
Where nothing can be watched the directory's own times say whether it has changed. Indexes are given up by the number
of names they hold, the least recently used first.
"""

import errno
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.naming.names import fold, present, to_posix
from lamina.ntfsa.naming.short_names import ShortNameIndex
from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.extensions import ShortNameRule
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, DosAttributes, FileStat, OpenHow, Watch
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

if TYPE_CHECKING:
    from lamina.vfs_modules.chain import Chain

_TIME_GRAIN_NS: Final = 100_000_000
"""A directory that changed this shortly before it was read may change again without its times showing it."""

_READ_AT_ONCE: Final = 4096
"""Names that are read before others are served."""

_LIST: Final = OpenHow(Access.READ, directory=True)

DirectoryKey = tuple[int, int]


class DirectoryIndex:
    """The names of one directory by their folded, presented form (`names.fold`, `names.present`)."""

    __slots__ = (
        "_chain",
        "_closed",
        "_handle",
        "_is_whole",
        "_names",
        "_read_at",
        "_rule",
        "_shorts",
        "_stamp",
        "_turn",
        "_users",
        "_watch",
        "count",
    )

    def __init__(self, chain: "Chain", handle: VfsHandle, rule: ShortNameRule | None = None) -> None:
        """`handle`: the directory, open for reading; the index closes it. `rule`: what makes short names, if any."""
        self._rule = rule
        self._chain = chain
        self._handle = handle
        self._names: dict[str, str | tuple[str, ...]] = {}
        self._stamp: tuple[int, int] | None = None
        self._read_at = 0
        self._turn = Turn()
        self._closed = False
        # Whoever reads the directory may give up in the middle: the next one then does it.
        self._is_whole = False
        self._users = 0
        self.count = 0
        self._watch = self._try_watch()
        try:
            self._read()
        except BaseException:
            if self._watch is not None:
                self._watch.close()
            raise

    def find(self, folded: str, exact: str) -> str | None:
        """The name on disk whose folded form is `folded`, or None. Where several differ in case only: `exact` first."""
        self._bring_up_to_date()
        found = self._names.get(folded)
        if found is None and self._shorts is not None:
            return self._shorts.find(folded)
        if found is None or isinstance(found, str):
            return found
        return exact if exact in found else found[0]

    def find_gone(self, folded: str) -> str | None:
        """The name that a file had of which `folded` was the short name, and that has just gone; or None."""
        if self._shorts is None:
            return None
        gone = self._shorts.find_gone(folded, time.monotonic())
        return gone if gone is not None and fold(present(gone)) not in self._names else None

    def shorts(self) -> Callable[[str], str | None] | None:
        """What gives the short name of a name on disk, or None; it goes by the names that there are now."""
        self._bring_up_to_date()
        return self._shorts.short_of if self._shorts is not None else None

    def attributes(self, token: ImpersonationToken, stat: FileStat) -> DosAttributes:
        """The NT attributes of the directory, whose `stat` the caller has."""
        self._begin_use()
        try:
            return self._chain.get_dos_attributes(token, self._handle, stat)
        finally:
            self._end_use()

    def _bring_up_to_date(self) -> None:
        self._begin_use()
        try:
            with self._turn:
                self._refresh()
        finally:
            self._end_use()

    def _begin_use(self) -> None:
        self._users += 1

    def _end_use(self) -> None:
        self._users -= 1
        if self._closed and not self._users:
            self._release()

    def close(self) -> None:
        """Stop watching and close the directory, once nobody is using it any more."""
        self._closed = True
        if not self._users:
            self._release()

    def _release(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._chain.close(SERVER_TOKEN, self._handle)

    def _try_watch(self) -> Watch | None:
        try:
            return self._chain.watch(SERVER_TOKEN, self._handle)
        except OSError as error:
            if error.errno in {errno.ENOTSUP, errno.ENOSPC, errno.EMFILE, errno.ENOSYS}:
                return None
            raise

    def _refresh(self) -> None:
        if not self._is_whole:
            self._read()
        if self._watch is None:
            self._compare_times()
            return
        for kind, name in self._watch.poll():
            if name is None:
                self._read()
                return
            if kind == "added":
                self._add(name)
            elif kind == "removed":
                self._remove(name)

    def _compare_times(self) -> None:
        stat = self._chain.fstat(SERVER_TOKEN, self._handle)
        if _stamp_of(stat) != self._stamp or self._read_at - max(stat.mtime_ns, stat.ctime_ns) < _TIME_GRAIN_NS:
            self._read()

    def _read(self) -> None:
        # The times are taken first: a change while reading then shows as a change afterwards.
        self._stamp = _stamp_of(self._chain.fstat(SERVER_TOKEN, self._handle)) if self._watch is None else None
        self._read_at = time.time_ns()
        self._is_whole = False
        self._names = {}
        self.count = 0
        self._shorts = ShortNameIndex(self._rule, self._names) if self._rule is not None else None
        for number, entry in enumerate(self._chain.readdir(SERVER_TOKEN, self._handle, False), 1):
            self._add(entry.name)
            if not number % _READ_AT_ONCE:
                breathe()
        self._is_whole = True

    def _add(self, name: str) -> None:
        key = fold(present(name))
        if self._shorts is not None:
            self._shorts.add(name)
        known = self._names.setdefault(key, name)
        if known is name:
            self.count += 1
        elif isinstance(known, tuple):
            if name not in known:
                self._names[key] = tuple(sorted((*known, name)))
        elif known != name:
            self._names[key] = tuple(sorted((known, name)))

    def _remove(self, name: str) -> None:
        key = fold(present(name))
        if self._shorts is not None:
            self._shorts.remove(name, time.monotonic())
        known = self._names.get(key)
        if known == name:
            del self._names[key]
            self.count -= 1
        elif isinstance(known, tuple) and name in known:
            rest = tuple(other for other in known if other != name)
            self._names[key] = rest if len(rest) > 1 else rest[0]


class DirectoryIndexes:
    """The indexes of one volume, at most `limit` names together (but always the one last asked for)."""

    __slots__ = ("_chain", "_indexes", "_limit", "_root", "missed_in_empty", "rule")

    def __init__(self, chain: "Chain", root: VfsHandle, limit: int, rule: ShortNameRule | None = None) -> None:
        self._chain = chain
        self._root = root
        self._limit = limit
        self.rule = rule
        self._indexes: OrderedDict[DirectoryKey, DirectoryIndex] = OrderedDict()
        # The last name that was looked for was not found, in a directory without any: it may be a reparse point.
        self.missed_in_empty = False

    def find(self, directory: str, stat: FileStat, name: str) -> str | None:
        """The name on disk in `directory` (a chain path, whose `stat` the caller has) that the client's `name` means.

        Raises OSError where the directory cannot be read.
        """
        index = self._of(directory, stat)
        found = index.find(fold(name), name)
        self.missed_in_empty = found is None and not index.count
        return found

    def attributes_of(self, token: ImpersonationToken, stat: FileStat) -> DosAttributes | None:
        """The NT attributes of a directory that has an index, None where it has none, or they cannot be read."""
        index = self._indexes.get((stat.dev, stat.ino))
        try:
            return index.attributes(token, stat) if index is not None else None
        except OSError:
            return None

    def new_name(self, stat: FileStat, name: str) -> str:
        """What a new file is called on disk that a client calls `name`, which there is not: see `find_gone`."""
        index = self._indexes.get((stat.dev, stat.ino)) if self.rule is not None else None
        gone = index.find_gone(fold(name)) if index is not None else None
        return to_posix(name) if gone is None else gone

    def shorts_in(self, directory: str, stat: FileStat) -> Callable[[str], str | None] | None:
        """What gives the short name of a name on disk in `directory`, or None; None where there are no short names."""
        return self._of(directory, stat).shorts() if self.rule is not None else None

    def _of(self, directory: str, stat: FileStat) -> DirectoryIndex:
        key = (stat.dev, stat.ino)
        index = self._indexes.get(key)
        if index is not None:
            self._indexes.move_to_end(key)
            return index
        handle = self._chain.open(SERVER_TOKEN, self._root, directory, _LIST)
        index = self._make(handle)
        # Another request may have made the same one while this one waited for the directory.
        known = self._indexes.get(key)
        if known is not None:
            index.close()
            return known
        self._indexes[key] = index
        self._trim()
        return index

    def _make(self, handle: VfsHandle) -> DirectoryIndex:
        try:
            return DirectoryIndex(self._chain, handle, self.rule)
        except BaseException:
            self._chain.close(SERVER_TOKEN, handle)
            raise

    def _trim(self) -> None:
        total = sum(index.count for index in self._indexes.values())
        while total > self._limit and len(self._indexes) > 1:
            _, index = self._indexes.popitem(last=False)
            total -= index.count
            index.close()

    def forget(self, dev: int, ino: int) -> None:
        """Give up the index of a directory that goes away."""
        index = self._indexes.pop((dev, ino), None)
        if index is not None:
            index.close()

    def close(self) -> None:
        """Give up everything."""
        while self._indexes:
            self._indexes.popitem()[1].close()


def _stamp_of(stat: FileStat) -> tuple[int, int]:
    return (stat.mtime_ns, stat.ctime_ns)
