"""What is known of the names of a foreign store: remembered for a moment, numbered, and with times for directories.

A file's number is a hash of its path; after a rename it keeps the one it had, and so does all beneath a directory, as
long as this is remembered. A directory of a store that keeps no times for them is as old as its last change through
this server, or as the last full `refresh_seconds`, so that listings that are kept above are read again that often.
"""

import errno
import os
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.stock.foreign.entries import Entry, Shown, directory_entry, path_number
from lamina.vfs_modules.stock.foreign.options import FsspecOptions
from lamina.vfs_modules.stock.foreign.store import Store

MARKER: Final = ".lamina-directory"
"""The file that keeps an empty directory where the store knows none; clients do not see it."""

_REMEMBERED: Final = 50_000
_DIRECTORIES: Final = 1_000
_SECOND: Final = 1_000_000_000


def parent_of(path: str) -> str:
    """The directory that a path is in."""
    return path.rpartition("/")[0]


def join(directory: str, path: str) -> str:
    """The path of something in a directory."""
    return f"{directory}/{path}" if directory and path else directory or path


class Numbers:
    """The numbers of files: each is a hash of an identity, which is the path that a file or directory was first met by.

    What is renamed takes its identity along, and with it all that is beneath; what comes in its place gets a new one.
    """

    def __init__(self) -> None:
        self._identities: OrderedDict[str, str] = OrderedDict()
        self._births: OrderedDict[str, int] = OrderedDict()
        self._born = 0

    def of(self, path: str) -> int:
        """The number of what has this path."""
        return path_number(self._identity(path))

    def _identity(self, path: str) -> str:
        if not self._births:
            return path
        rest: list[str] = []
        while path and path not in self._identities:
            directory, _, name = path.rpartition("/")
            birth = self._births.get(path)
            # No name has a slash: nothing else is written like this.
            rest.append(name if birth is None else f"{name}//{birth}")
            path = directory
        return "/".join([self._identities[path], *reversed(rest)] if path else reversed(rest))

    def move(self, source: str, target: str) -> None:
        """What had one path has another, with all that is beneath."""
        identity = self._identity(source)
        for table in (self._identities, self._births):
            _carry(table, source + "/", target + "/")
        self.forget(source)
        self.renew(source)
        self._identities.pop(target, None)
        self._identities[target] = identity
        if len(self._identities) > _REMEMBERED:
            self._identities.popitem(last=False)

    def forget(self, path: str) -> None:
        """Nothing has this path any more."""
        self._identities.pop(path, None)

    def renew(self, path: str) -> None:
        """What gets this path next is not what had it, which is still there: renamed, or open without a name."""
        self._born += 1
        self._births.pop(path, None)
        self._births[path] = self._born
        if len(self._births) > 2 * _REMEMBERED:
            self._births.popitem(last=False)


def _drop_beneath(table: MutableMapping[str, Any], start: str) -> None:
    for path in [path for path in table if path.startswith(start)]:
        del table[path]


def _carry(table: OrderedDict[str, Any], source: str, target: str) -> None:
    for path in [path for path in table if path.startswith(source)]:
        table[target + path[len(source) :]] = table.pop(path)


class Tree:
    """The names of a store. `clock` gives nanoseconds since 1970, `timer` seconds."""

    def __init__(
        self,
        store: Store,
        shown: Shown,
        options: FsspecOptions,
        clock: Callable[[], int] = time.time_ns,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.shown, self.numbers = store, shown, Numbers()
        self._options, self._clock, self._timer = options, clock, timer
        self._marks = options.marks_directories
        self._known: OrderedDict[str, tuple[float, Entry]] = OrderedDict()
        self._listed: dict[str, float] = {}
        self._changes = 0  # what was asked for before one of them is not remembered after it
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._began = clock()

    # Looking.

    def look(self, path: str) -> Entry:
        """What is at a path. Raises ENOENT, ENOTDIR where a file is in the way, ELOOP where a link is."""
        entry, done = self._nearest(path)
        while done < len(path):
            if not entry.is_directory:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            end = path.find("/", done + 1)
            done = len(path) if end < 0 else end
            before = self._changes
            entry = self._ask(path[:done])
            if entry.is_link:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if before == self._changes:
                self.learn(path[:done], entry)
        return entry

    def _ask(self, path: str) -> Entry:
        if not (self._options.lists_to_look and self._options.cache_seconds):
            return self.store.look(path)
        directory, _, name = path.rpartition("/")
        found = None
        if self._listed.get(directory, 0.0) < self._timer():
            found = self.list(directory).get(name)
        if found is None:
            # What is not known of a directory that was listed just now is not there.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def _nearest(self, path: str) -> tuple[Entry, int]:
        """What is remembered of a path, or of the last directory on its way; and the length of that part."""
        now = self._timer()
        end = len(path)
        while end > 0:
            known = self._known.get(path[:end])
            if known is not None and known[0] >= now:
                return known[1], end
            end = path.rfind("/", 0, end)
        known = self._known.get("")
        return (known[1] if known is not None and known[0] >= now else directory_entry()), 0

    def learn(self, path: str, entry: Entry) -> None:
        """Remember what is at a path."""
        if self._options.cache_seconds and not entry.is_link:
            self._known.pop(path, None)
            self._known[path] = (self._timer() + self._options.cache_seconds, entry)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def list(self, path: str) -> dict[str, Entry]:
        """The entries of a directory, those apart that lead elsewhere or are its mark."""
        until, before = self._timer() + self._options.cache_seconds, self._changes
        try:
            found = self.store.list(path)
        except FileNotFoundError:
            # A store that knows no directories knows none that is empty either.
            if path and not self._marks:
                raise
            found = {}
        found.pop(MARKER, None)
        found = {name: entry for name, entry in found.items() if not entry.is_link}
        if before == self._changes:
            self._learn_all(path, found, until)
        return found

    def _learn_all(self, path: str, found: dict[str, Entry], until: float) -> None:
        for name, entry in found.items():
            self.learn(join(path, name), entry)
        if self._options.lists_to_look and len(found) < _REMEMBERED // 2:
            if len(self._listed) >= _DIRECTORIES:
                self._listed.clear()
            self._listed[path] = until

    def stat(self, path: str, entry: Entry) -> FileStat:
        """What is told of what is at a path."""
        return self.stat_as(self.numbers.of(path), path, entry)

    def stat_as(self, number: int, path: str, entry: Entry, links: int = 1) -> FileStat:
        """The same of what has a certain number."""
        return self.shown.stat(entry, number, self._mtime(path, entry), links)

    def _mtime(self, path: str, entry: Entry) -> int:
        if not entry.is_directory:
            return self._began if entry.mtime_ns is None else entry.mtime_ns
        own = entry.mtime_ns
        if own is None:
            now = self._clock()
            own = now - now % int(self._options.refresh_seconds * _SECOND)
        return max(own, self._changed.get(path, 0))

    # Changing.

    def forget(self, path: str) -> None:
        """What is at a path has changed."""
        self._changes += 1
        self._listed.pop(parent_of(path), None)
        self._gone(path)

    def _gone(self, path: str) -> None:
        self._changes += 1
        self._known.pop(path, None)
        self._changed.pop(path, None)
        self._listed.pop(path, None)

    def forget_beneath(self, path: str) -> None:
        """The same for all that is in a directory."""
        for table in (self._known, self._changed, self._listed):
            _drop_beneath(table, path + "/")

    def changed(self, directory: str) -> None:
        """A name has come to a directory or left it."""
        self._changes += 1
        self._changed.pop(directory, None)
        self._changed[directory] = self._clock()
        if len(self._changed) > _REMEMBERED:
            self._changed.popitem(last=False)

    def make_file(self, path: str) -> Entry:
        """Make an empty file; its parent is there."""
        self.store.make(path)
        entry = Entry(False, False, 0, self._clock())
        self.learn(path, entry)
        self.changed(parent_of(path))
        return entry

    def make_directory(self, path: str) -> None:
        """Make a directory, and see that it stays while it is empty."""
        try:
            self.store.make_directory(path)
        except OSError as error:
            if error.errno != errno.ENOTSUP and not (self._marks and error.errno != errno.EEXIST):
                raise
        if self._marks or not self.store.exists_as_directory(path):
            self._marks = True
            self.store.make(join(path, MARKER))
        self.forget(path)
        self.changed(parent_of(path))

    def remove_directory(self, path: str) -> None:
        """Remove a directory; ENOTEMPTY where something is in it."""
        if self.list(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        if not self._marks:
            self.store.remove_directory(path)
        else:
            self._remove_marked(path)
        self.forget(path)
        self.numbers.forget(path)
        self._left(parent_of(path))

    def _remove_marked(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.store.remove(join(path, MARKER))
        if self.store.exists_as_directory(path):
            self.store.remove_directory(path)

    def remove_file(self, path: str) -> None:
        """Remove a file."""
        self.store.remove(path)
        self._gone(path)
        self.numbers.forget(path)
        self._left(parent_of(path))

    def rename(self, source: str, target: str, is_directory: bool) -> None:
        """Give something another name, which is free; it keeps its number."""
        try:
            self.store.rename(source, target, is_directory)
        finally:
            for path in (source, target):
                self.forget(path)
                self.forget_beneath(path)
        self.numbers.move(source, target)
        self._left(parent_of(source))
        self.changed(parent_of(target))

    def _left(self, directory: str) -> None:
        """Something has left a directory, which is to stay also where it was the last."""
        self.changed(directory)
        if self._marks and directory and not self.store.exists_as_directory(directory):
            self.store.make(join(directory, MARKER))
