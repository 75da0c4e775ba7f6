"""What other workers change in a share: telling those who watch here once, in the order in which it took effect.

A worker says in letters (see `shared_changes`) what it is about to do to names and to what files hold, what it has
done, and what is to be told of it. The chain's source of changes sees the same, as it sees what local programs do.
What the source says is looked at only when the letters are here that belong to it, and all at once (`announce`, then
what was gathered of the sources, then `settle`): so a change of another worker is recognised as one of this process's
own is, by its name being changed just then, or its window.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lamina.ntfsa.fscc.notify_information import FILE_ACTION_MODIFIED, WRITTEN
from lamina.ntfsa.notify.name_changes import NameChange
from lamina.ntfsa.notify.observed_chain import Window
from lamina.ntfsa.notify.own_changes import CONTENT, sort_out
from lamina.vfs_modules.changes import Change, ChangeKind

if TYPE_CHECKING:
    from lamina.ntfsa.notify.local_changes import LocalChanges, Source
    from lamina.ntfsa.notify.name_changes import NameChanges
    from lamina.ntfsa.notify.watchers import Watchers
    from lamina.ntfsa.volume import NtVolume

BEGUN: Final = "begun"
ENDED: Final = "ended"
OPENED: Final = "opened"
CLOSED: Final = "closed"
WRITES: Final = "writes"
SETTLED: Final = "settled"
REPORT: Final = "report"
STREAM: Final = "stream"
"""Kinds of letters about changes; see `ForeignChanges` for what they say."""

Number = tuple[int, int]
"""What a worker calls something that it does, after its own number."""

PlainChange = tuple[int, str, bool, str]


def to_plain(change: Change) -> PlainChange:
    """For a letter."""
    return change.kind.value, change.path, change.is_directory, change.target


def from_plain(plain: Sequence[Any]) -> Change:
    """What `to_plain` made."""
    kind, path, is_directory, target = plain
    return Change(ChangeKind(kind), path, is_directory, target)


class ForeignChange(NameChange):
    """Names that other workers change just now: operations at the same name that were heard of at once are one.

    `running`: those of them that have not ended.
    """

    __slots__ = ("running", "several")

    def __init__(self, names: "NameChanges", paths: Sequence[str], tree: bool) -> None:
        super().__init__(names, paths, tree)
        self.running: set[Number] = set()
        self.several = False

    def join(self, number: Number) -> None:
        """One more operation is part of it."""
        self.several = self.several or bool(self.running)
        self.running.add(number)

    def drop_written(self, local: "LocalChanges") -> None:
        """Leave out what is written to files whose writer will tell of it."""
        self._held = [(source, change) for source, change in self._held if not local.is_written(source, change)]

    def settle(self, watchers: "Watchers", number: Number, reports: list[tuple[Change, bytes]]) -> None:
        """One of its operations has ended, and this is what is to be told of it."""
        self.running.discard(number)
        if self.several:
            for change, by in reports:
                watchers.happened(change, by)
            self._reports = []
        else:
            self._reports = reports
        if not self.running:
            self._tell_at_the_end(watchers)

    def _tell_at_the_end(self, watchers: "Watchers") -> None:
        if self.several:
            # What others did between several operations has no place of its own among them any more.
            self._certain_only()
        if self._held or self._doubted:
            self._tell_in_order(watchers)
        else:
            self._report(watchers)

    def _certain_only(self) -> None:
        by_source: dict[Source, list[Change]] = {}
        for source, change in self._held:
            by_source.setdefault(source, []).append(change)
        self._held = []
        for source, held in by_source.items():
            sorted_out = sort_out(source.path, held, self._caused)
            left = sorted_out.before + sorted_out.after
            if any(change.kind not in CONTENT for change in left):
                self.doubt(source)
            else:
                self._held += [(source, change) for change in left]
        self._caused = []


class ForeignChanges:
    """Those of one volume. The arguments of letters follow the number of the worker that has written them.

    BEGUN: id, paths, tree. ENDED: id, paths, what was caused, what is to be told, whether that is certain. OPENED: id,
    paths. CLOSED: id, whether it was done. WRITES and SETTLED: path. REPORT: changed, by, events, whether that settles
    what was written. STREAM: path, stream, action, changed, by.
    """

    def __init__(self, volume: "NtVolume") -> None:
        self._volume = volume
        self._names: dict[Number, list[ForeignChange]] = {}
        self._windows: dict[Number, Window] = {}

    @property
    def _local(self) -> "LocalChanges | None":
        watchers = self._volume.watchers
        return None if watchers is None else watchers.local

    # -- before what the sources say is looked at -----------------------------------------------------------------

    def announce(self, kind: str, worker: int, *what: Any) -> None:
        """Know of what others do before their changes are seen."""
        if kind == BEGUN:
            self._begun((worker, what[0]), what[1], what[2])
        elif kind == ENDED:
            for group in self._names.get((worker, what[0]), ()):
                for plain in what[2]:
                    group.unseen(from_plain(plain))
        elif kind == OPENED and self._local is not None:
            window = self._windows[worker, what[0]] = Window(self._local, what[1])
            self._local.enter_window(window)
        elif kind == WRITES and self._local is not None:
            self._local.written_elsewhere.setdefault(what[0], set()).add(worker)

    def _begun(self, number: Number, paths: Sequence[str], tree: bool) -> None:
        if number in self._names:
            return
        names = self._volume.name_changes
        found = {change: None for path in paths for change in names.met_by(path, tree)}
        groups = [change for change in found if isinstance(change, ForeignChange)]
        free = [path for path in paths if names.at(path) is None]
        if not groups:
            groups = [ForeignChange(names, free, tree)]
            names.enter(groups[0])
        else:
            names.extend(groups[0], *free, tree=tree)
        for group in groups:
            group.join(number)
        self._names[number] = groups

    def gather(self) -> None:
        """Take what the sources have to say, for later."""
        if self._local is not None:
            self._local.gather()

    def offer_gathered(self) -> None:
        """Tell what the sources have said, or hold it."""
        if self._local is not None:
            self._local.offer_gathered()

    # -- after it -------------------------------------------------------------------------------------------------

    def settle(self, kind: str, worker: int, *what: Any) -> None:
        """Tell those who watch."""
        if kind == ENDED:
            self._ended((worker, what[0]), *what[1:])
        elif kind == CLOSED:
            self._closed((worker, what[0]), what[1])
        elif kind == SETTLED:
            self._settled(worker, what[0])
        elif kind == WRITES and self._local is not None:
            # Another letter of the same batch may have taken it back.
            self._local.written_elsewhere.setdefault(what[0], set()).add(worker)
        elif kind == REPORT:
            self._report(worker, *what)
        elif kind == STREAM and self._volume.watchers is not None:
            self._volume.watchers.stream_changed_here(*what)

    def _ended(
        self,
        number: Number,
        paths: Sequence[str],
        caused: Sequence[PlainChange],
        reports: Sequence[tuple[PlainChange, bytes]],
        certain: bool,
    ) -> None:
        watchers, groups = self._volume.watchers, self._names.pop(number, [])
        if watchers is not None:
            self._tell_ended(watchers, number, groups, [from_plain(plain) for plain in caused], reports)
            if not certain:
                for path in paths:
                    watchers.lost(path)
        for group in groups:
            group.running.discard(number)
            if not group.running:
                group.over()

    def _tell_ended(
        self,
        watchers: "Watchers",
        number: Number,
        groups: list[ForeignChange],
        caused: list[Change],
        reports: Sequence[tuple[PlainChange, bytes]],
    ) -> None:
        told = [(from_plain(plain), by) for plain, by in reports]
        local = watchers.local
        if local is not None:
            for change in caused:
                if change.kind is ChangeKind.RENAMED:
                    local.move_written(change.path, change.target)
            for group in groups:
                group.drop_written(local)
        if not groups:
            for change, by in told:
                watchers.happened(change, by)
        for at, group in enumerate(groups):
            group.settle(watchers, number, told if at == 0 else [])

    def _closed(self, number: Number, done: bool) -> None:
        window = self._windows.pop(number, None)
        if window is not None and self._local is window.local:
            window.local.leave_window(window, done)

    def _settled(self, worker: int, path: str) -> None:
        local = self._local
        if local is not None:
            local.settle_elsewhere(path, worker)

    def _report(self, worker: int, changed: int, by: bytes, events: tuple[tuple[int, str], ...], settles: bool) -> None:
        if settles:
            self._settled(worker, events[0][1])
        if self._volume.watchers is not None:
            self._volume.watchers.report_here(changed, by, *events)

    # -- the end of a worker --------------------------------------------------------------------------------------

    def lost(self, worker: int) -> None:
        """A worker has died: what it was doing it may have done or not."""
        for number in [number for number in self._names if number[0] == worker]:
            paths = [path for group in self._names[number] for path in group.paths]
            self._ended(number, paths, (), (), False)
        for number in [number for number in self._windows if number[0] == worker]:
            self._closed(number, False)
        local = self._local
        written = [] if local is None else [path for path, by in local.written_elsewhere.items() if worker in by]
        for path in written:
            self._report(worker, WRITTEN, b"", ((FILE_ACTION_MODIFIED, path),), True)
