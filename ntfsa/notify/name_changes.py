"""Operations of clients that change names, one at a time at each name, and telling of them in their true order.

Whoever makes, removes or renames something does it in a `NameChange`, which has its names from before the chain is
called until all who watch have been told (MS-FSA 2.1.4.1). Others who want one of the names wait so long, as they
would for the lock of a directory in a kernel, and so do those who want a name beneath a directory that is being
renamed. So of one name everything is told in the order in which it took effect, however slow the storage is.

What others do is not kept from happening. Where there is a source that tells of it (see `local_changes`), what it says
of these names meanwhile is held, and told before and after the operation, as it came about.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa.notify.own_changes import SortedOut, comes_first, removed_by, sort_out
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules import engine
from lamina.vfs_modules.changes import LOST, Change, ChangeKind

if TYPE_CHECKING:
    from types import TracebackType

    from lamina.ntfsa.notify.local_changes import Source
    from lamina.ntfsa.notify.watchers import Watchers
    from lamina.ntfsa.volume import NtVolume

_MAX_HELD: Final = 1024


class Announced(NamedTuple):
    """What other workers know of an operation: under which number, and which of them do."""

    number: int
    to: frozenset[int]


class NameChange:
    """An operation that changes the names `paths`, while it is being done; `tree`: and what is beneath them.

    As soon as something has happened, it is said here; who watches is told at the end. `announced`: other workers know
    of it, and hear of its end.
    """

    __slots__ = ("_caused", "_doubted", "_held", "_names", "_reports", "_waiting", "announced", "paths", "tree")

    def __init__(self, names: "NameChanges", paths: Sequence[str], tree: bool) -> None:
        self._names = names
        self.paths = paths
        self.tree = tree
        # What the chain has done to names, in order, and what is to be told of it, with the lease key of who did it.
        self._caused: list[Change] = []
        self._reports: list[tuple[Change, bytes]] = []
        self._held: list[tuple[Source, Change]] = []
        self._doubted: set[Source] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self.announced: Announced | None = None

    # -- what has happened; for `by` see `Watchers` -------------------------------------------------------------------

    def added(self, path: str, directory: bool, by: bytes = b"") -> None:
        """A file or directory has got a name."""
        self._happened(Change(ChangeKind.ADDED, path, directory), by)

    def removed(self, path: str, directory: bool, by: bytes = b"") -> None:
        """A file or directory has lost a name."""
        self._happened(Change(ChangeKind.REMOVED, path, directory), by)

    def renamed(self, source: str, target: str, directory: bool, by: bytes = b"") -> None:
        """A name has become another."""
        self._happened(Change(ChangeKind.RENAMED, source, directory, target), by)

    def _happened(self, change: Change, by: bytes) -> None:
        self.unseen(change)
        self.tell(change, by)

    def unseen(self, change: Change) -> None:
        """Something has happened that nobody is to be told of."""
        self._caused.append(change)

    def tell(self, change: Change, by: bytes = b"") -> None:
        """Something is to be told that is not quite what has happened."""
        self._reports.append((change, by))

    def taken_back(self, path: str, directory: bool) -> None:
        """What was made is removed again, and was never there for who watches."""
        self._reports.clear()
        self.unseen(Change(ChangeKind.REMOVED, path, directory))

    def makes(self, path: str) -> bool:
        """Whether a new name will be told of, so that what the new file holds needs no telling."""
        return any(change.kind is ChangeKind.ADDED and change.path == path for change, _ in self._reports)

    # -- what others do meanwhile -------------------------------------------------------------------------------------

    def hold(self, source: "Source", change: Change) -> None:
        """Keep what a source tells of these names until the end."""
        if len(self._held) < _MAX_HELD:
            self._held.append((source, change))
        else:
            self.doubt(source)

    def doubt(self, source: "Source") -> None:
        """Who watches through a source is to look for themselves at the end."""
        self._doubted.add(source)

    # -- the end ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> "NameChange":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        known = error is None or isinstance(error, OSError | NtStatusError)
        volume = self._names.volume
        try:
            reports = tuple(self._reports)
            if volume.watchers is not None:
                self._tell(volume.watchers, known)
            if volume.peers is not None:
                volume.peers.name_change_ended(self, self._caused, reports, known)
        finally:
            self.over()

    def over(self) -> None:
        """Give the names back to those who wait for them."""
        self._names.end(self)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _tell(self, watchers: "Watchers", known: bool) -> None:
        if watchers.local is not None:
            watchers.local.look(self.paths)
        elif self._names.volume.peers is not None:
            self._names.volume.peers.read_changes()
        if self._held or self._doubted:
            self._tell_in_order(watchers)
        else:
            self._report(watchers)
        if not known:
            # Whoever was interrupted may have done it or not.
            for path in self.paths:
                watchers.lost(path)

    def _report(self, watchers: "Watchers") -> None:
        for change, by in self._reports:
            watchers.happened(change, by)

    def _tell_in_order(self, watchers: "Watchers") -> None:
        by_source: dict[Source, list[Change]] = {}
        for source, change in self._held:
            by_source.setdefault(source, []).append(change)
        sorted_out = {source: sort_out(source.path, held, self._caused) for source, held in by_source.items()}
        self._report_replaced(watchers, sorted_out)
        gone: set[str] = set()
        for source, told in sorted_out.items():
            source.tell(told.before)
            gone |= removed_by(source.path, told.before)
        # What was to be replaced may have gone before.
        self._reports = [entry for entry in self._reports if entry[0] in self._caused or entry[0].path not in gone]
        self._report(watchers)
        for source, told in sorted_out.items():
            source.tell(told.after)
            if not told.certain:
                self._doubted.add(source)
        for source in self._doubted:
            source.tell([LOST])

    def _report_replaced(self, watchers: "Watchers", sorted_out: "Mapping[Source, SortedOut]") -> None:
        # Sorting may take a change of others that is alike for what replaced something: that has gone before, too.
        for entry in tuple(self._reports):
            change = entry[0]
            if change not in self._caused and any(
                comes_first(source.path, told.before, change.path) for source, told in sorted_out.items()
            ):
                self._reports.remove(entry)
                watchers.happened(*entry)

    def wait(self) -> None:
        """Wait until it is over."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        engine.wait(future)


class NameChanges:
    """The names of a volume that are being changed, by their chain paths."""

    __slots__ = ("_by_path", "_trees", "volume")

    def __init__(self, volume: "NtVolume") -> None:
        self.volume = volume
        self._by_path: dict[str, NameChange] = {}
        self._trees = 0

    def begin(self, *paths: str, tree: bool = False) -> NameChange | None:
        """Have these names to oneself. None where that took waiting: what was found out before may have changed.

        Where somebody watches, other workers' clients do not have them either.
        """
        by_path = self._by_path
        if by_path and self._waited(paths, tree):
            return None
        change = NameChange(self, paths, tree)
        watchers = self.volume.watchers
        if watchers is not None and watchers.local is not None:
            watchers.local.look(paths)
            # Others may have moved somebody's name here: then whoever has that name has this one, too (see `extend`).
            if by_path and self._waited(paths, tree):
                return None
        peers = self.volume.peers
        while peers is not None and not peers.name_change_begins(change):
            # There was news of the others.
            if by_path and self._waited(paths, tree):
                return None
        self.enter(change)
        return change

    def enter(self, change: NameChange) -> None:
        """Somebody has these names from now on."""
        for path in change.paths:
            self._by_path[path] = change
        self._trees += change.tree

    def _waited(self, paths: Sequence[str], tree: bool) -> bool:
        other = self._in_the_way(paths, tree)
        if other is None:
            return False
        other.wait()
        return True

    def _in_the_way(self, paths: Sequence[str], tree: bool) -> NameChange | None:
        return next((found for path in paths for found in self.met_by(path, tree)), None)

    def _above(self, path: str) -> Iterator[NameChange]:
        while self._trees and path:
            path = path.rpartition("/")[0]
            found = self._by_path.get(path)
            if found is not None and found.tree:
                yield found

    def __bool__(self) -> bool:
        return bool(self._by_path)

    def extend(self, change: NameChange, *paths: str, tree: bool = False) -> None:
        """Let a change have further names, which nobody else has; `tree`: and what is beneath all of them."""
        change.paths = (*change.paths, *paths)
        self._by_path.update(dict.fromkeys(paths, change))
        if tree and not change.tree:
            change.tree = True
            self._trees += 1

    def at(self, path: str) -> NameChange | None:
        """Whoever changes a name just now, or that of a directory above it."""
        return self._by_path.get(path) or next(self._above(path), None)

    def met_by(self, path: str, tree: bool) -> "Iterator[NameChange]":
        """Those in whose way is who changes a name; `tree`: and what is beneath it."""
        found = self.at(path)
        if found is not None:
            yield found
        if tree:
            yield from self.beneath(path)

    def all(self) -> "Iterator[NameChange]":
        """Every change there is."""
        return iter(dict.fromkeys(self._by_path.values()))

    def beneath(self, directory: str) -> Iterator[NameChange]:
        """Those who change names beneath a directory."""
        prefix = directory + "/"
        return (change for path, change in self._by_path.items() if path.startswith(prefix))

    def end(self, change: NameChange) -> None:
        """Give the names back."""
        for path in change.paths:
            self._by_path.pop(path, None)
        self._trees -= change.tree
