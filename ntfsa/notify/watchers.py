"""Who watches which directories of a volume, and what each has not been told yet. No I/O, no clock, no waiting.

MS-FSA 2.1.1.8 Per ChangeNotifyEntry, 2.1.4.1 Algorithm for Reporting a Change Notification for a Directory; MS-SMB2
3.3.1.3 Algorithm for Change Notifications in an Object Store. Two things differ from the first: a change of the
watched directory itself is no change in it, as on NTFS; and records are kept up to a bound, beyond which the watcher
learns only that it must look for itself.
"""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.fscc.notify_information import NotifyRecord, pack_notify_information, packed_size
from lamina.ntfsa.naming.lookup import nt_path
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.changes import Change, ChangeKind

if TYPE_CHECKING:
    import asyncio

    from lamina.ntfsa.notify.local_changes import LocalChanges
    from lamina.ntfsa.workers.volume_peers import VolumePeers

MAX_KEPT: Final = 65536
"""Bytes of records kept for a watcher between two requests, however long its first request was."""

UNLISTED: Final = b"unlisted"
"""`by` of a change that the directory's entry does not show yet."""

_ACTIONS: Final = {
    ChangeKind.ADDED: n.FILE_ACTION_ADDED,
    ChangeKind.REMOVED: n.FILE_ACTION_REMOVED,
    ChangeKind.DATA: n.FILE_ACTION_MODIFIED,
    ChangeKind.ATTRIBUTES: n.FILE_ACTION_MODIFIED,
}
_LOCAL: Final = {
    ChangeKind.DATA: n.WRITTEN,
    # Of these POSIX does not say which it was: mode, owner, a time, an extended attribute with the NT attributes.
    ChangeKind.ATTRIBUTES: n.FILE_NOTIFY_CHANGE_ATTRIBUTES
    | n.FILE_NOTIFY_CHANGE_LAST_WRITE
    | n.FILE_NOTIFY_CHANGE_LAST_ACCESS
    | n.FILE_NOTIFY_CHANGE_CREATION
    | n.FILE_NOTIFY_CHANGE_EA
    | n.FILE_NOTIFY_CHANGE_SECURITY,
}


class WaitingNotify(NamedTuple):
    """A request that waits: where its answer goes, and the bytes there is room for."""

    future: "asyncio.Future[Information]"
    max_length: int


class Watcher:
    """One watched open of a directory. What its first request asked for stays (MS-SMB2 3.3.1.3).

    `path`: the directory's chain path. `limit`: bytes of records kept while no request waits. Records are kept or
    requests wait, never both.
    """

    __slots__ = ("_overflowed", "_records", "_size", "completion_filter", "limit", "path", "waiting", "watch_tree")

    def __init__(self, path: str, completion_filter: int, watch_tree: bool, max_length: int) -> None:
        self.path = path
        self.completion_filter = completion_filter
        self.watch_tree = watch_tree
        self.limit = min(max_length, MAX_KEPT)
        self.waiting: deque[WaitingNotify] = deque()
        self._records: list[NotifyRecord] = []
        self._size = 0
        self._overflowed = False

    def add(self, records: list[NotifyRecord], by: bytes) -> None:
        """Tell the request that has waited longest, or keep the records for the next one.

        `by`: the lease key that whoever made the change has for the directory (MS-SMB2 2.2.13.2.10), b"" for none.
        """
        waiting = self._oldest()
        if waiting is not None:
            waiting.future.set_result(_answer(records, waiting.max_length))
        elif not self._overflowed:
            self._keep(records)

    def _oldest(self) -> WaitingNotify | None:
        while self.waiting:
            waiting = self.waiting.popleft()
            if not waiting.future.done():
                return waiting
        return None

    def _keep(self, records: list[NotifyRecord]) -> None:
        for record in records:
            # A file that is written piece by piece is one change to who has not asked meanwhile.
            if record.action == n.FILE_ACTION_MODIFIED and self._records and self._records[-1] == record:
                continue
            self._records.append(record)
            self._size += packed_size(record.name)
        if self._size > self.limit:
            self._forget_records()
            self._overflowed = True

    def _forget_records(self) -> None:
        self._records = []
        self._size = 0

    def lose(self) -> None:
        """Not everything can be told: whoever watches must look for themselves."""
        waiting = self._oldest()
        if waiting is not None:
            waiting.future.set_result(Information(NtStatus.NOTIFY_ENUM_DIR, b""))
        else:
            self._forget_records()
            self._overflowed = True

    def take(self, max_length: int) -> Information | None:
        """What happened since the last request, for one with room for `max_length` bytes; None if nothing did."""
        if self._overflowed:
            self._overflowed = False
            return Information(NtStatus.NOTIFY_ENUM_DIR, b"")
        if not self._records:
            return None
        records = self._records
        self._forget_records()
        return _answer(records, max_length)

    def end(self, status: NtStatus) -> None:
        """Answer everything that waits with `status`."""
        while (waiting := self._oldest()) is not None:
            waiting.future.set_exception(NtStatusError(status, "the directory is watched no longer"))


def _answer(records: list[NotifyRecord], max_length: int) -> Information:
    """MS-FSA 2.1.5.11.1 Waiting for Change Notification to be Reported: all of it, or none."""
    packed = pack_notify_information(records)
    if len(packed) > max_length:
        return Information(NtStatus.NOTIFY_ENUM_DIR, b"")
    return Information(NtStatus.SUCCESS, packed)


class Watchers:
    """The watchers of a volume, by the directories they watch, so that a change finds its own at once.

    Paths are chain paths from the share's root, as the changed file is or was named. `local` finds out what others do.
    """

    __slots__ = ("_by_path", "_peers", "local")

    def __init__(self, peers: "VolumePeers | None" = None) -> None:
        """`peers`: other workers, where somebody may watch the same directories."""
        self._peers = peers
        self._by_path: dict[str, list[Watcher]] = {}
        self.local: LocalChanges | None = None

    def __bool__(self) -> bool:
        return bool(self._by_path)

    def add(self, watcher: Watcher) -> None:
        """Enter a watcher."""
        self._by_path.setdefault(watcher.path, []).append(watcher)
        if self.local is not None:
            self.local.watchers_changed()

    def has(self, watcher: Watcher) -> bool:
        """Whether it is entered, still."""
        return watcher in self._by_path.get(watcher.path, ())

    def remove(self, watcher: Watcher) -> None:
        """Forget a watcher; what waits in it ends with NOTIFY_CLEANUP."""
        if self.local is not None:
            self.local.end(watcher)
        self._take_out(watcher)
        watcher.end(NtStatus.NOTIFY_CLEANUP)

    def _take_out(self, watcher: Watcher) -> None:
        watchers = self._by_path[watcher.path]
        watchers.remove(watcher)
        if not watchers:
            del self._by_path[watcher.path]

    def moved(self, watcher: Watcher, path: str) -> None:
        """The watched directory, or one above it, was renamed."""
        self._take_out(watcher)
        watcher.path = path
        self.add(watcher)

    # -- what happens ---------------------------------------------------------------------------------------------

    # `by` is for directory leases, which their own holders do not break: see `Watcher.add`.

    def added(self, path: str, directory: bool, by: bytes = b"") -> None:
        """A file or directory has got a name. Names are told of in this process only (see `name_changes`)."""
        self.report_here(_name_filter(directory), by, (n.FILE_ACTION_ADDED, path))

    def removed(self, path: str, directory: bool, by: bytes = b"") -> None:
        """A file or directory has lost a name."""
        self.report_here(_name_filter(directory), by, (n.FILE_ACTION_REMOVED, path))

    def modified(self, path: str, changed: int, by: bytes = b"") -> None:
        """A file has changed; `changed`: FILE_NOTIFY_CHANGE_* of what did."""
        settles = self.local is not None and self.local.settle(path)
        self._modified(path, changed, by, settles)

    def being_written(self, path: str) -> None:
        """A file has begun to change; it is `modified` when it is closed, and then listed as it is."""
        self._modified(path, n.WRITTEN, UNLISTED, False)

    def _modified(self, path: str, changed: int, by: bytes, settles: bool) -> None:
        event = n.FILE_ACTION_MODIFIED, path
        if self._peers is not None:
            self._peers.report(changed, by, (event,), settles)
        self.report_here(changed, by, event)

    def renamed(self, source: str, target: str, directory: bool, by: bytes = b"") -> None:
        """A name has become another. In one directory that is a pair of records, else it goes here and comes there."""
        changed = _name_filter(directory)
        if _parent(source) == _parent(target):
            old, new = n.FILE_ACTION_RENAMED_OLD_NAME, n.FILE_ACTION_RENAMED_NEW_NAME
            self.report_here(changed, by, (old, source), (new, target))
        else:
            self.removed(source, directory, by)
            self.added(target, directory, by)

    def happened(self, change: Change, by: bytes) -> None:
        """A name was ADDED, REMOVED or RENAMED."""
        if change.kind is ChangeKind.RENAMED:
            self.renamed(change.path, change.target, change.is_directory, by)
        else:
            tell = self.added if change.kind is ChangeKind.ADDED else self.removed
            tell(change.path, change.is_directory, by)

    def lost(self, path: str) -> None:
        """What became of a name nobody knows."""
        for watcher in self.watching(path):
            watcher.lose()

    def stream_changed(self, path: str, stream: str, action: int, changed: int, by: bytes = b"") -> None:
        """A named stream of a file was added, removed or modified: FILE_ACTION_*_STREAM."""
        if self._peers is not None:
            self._peers.stream_changed(path, stream, action, changed, by)
        self.stream_changed_here(path, stream, action, changed, by)

    def stream_changed_here(self, path: str, stream: str, action: int, changed: int, by: bytes) -> None:
        """`stream_changed`, for who watches in this process."""
        for watcher in self.watching(path):
            if watcher.completion_filter & changed:
                start = len(watcher.path) + 1 if watcher.path else 0
                watcher.add([NotifyRecord(action, f"{nt_path(path[start:])}:{stream}")], by)

    def report_here(self, changed: int, by: bytes, *events: tuple[int, str]) -> None:
        """MS-FSA 2.1.4.1, for who watches in this process. `events` are in one directory, and are told together."""
        for watcher in self.watching(events[0][1]):
            if watcher.completion_filter & changed:
                start = len(watcher.path) + 1 if watcher.path else 0
                watcher.add([NotifyRecord(action, nt_path(path[start:])) for action, path in events], by)

    def watching(self, changed: str) -> "Iterator[Watcher]":
        """The watchers of the directory of a file, and those of the trees it is in."""
        path, immediate = _parent(changed), True
        while path is not None:
            # A watcher may end itself when it is told.
            for watcher in tuple(self._by_path.get(path, ())):
                if immediate or watcher.watch_tree:
                    yield watcher
            path, immediate = _parent(path), False

    # -- what others do -------------------------------------------------------------------------------------------

    def tell(self, watcher: Watcher, change: Change) -> None:
        """Tell one watcher of a change that its source has found; its paths are from the watched directory."""
        if change.kind is ChangeKind.LOST:
            watcher.lose()
            return
        changed = _LOCAL.get(change.kind) or _name_filter(change.is_directory)
        if watcher.completion_filter & changed:
            for records in _records_of(change):
                watcher.add(records, b"")


def _records_of(change: Change) -> Iterator[list[NotifyRecord]]:
    name = nt_path(change.path)
    if change.kind is not ChangeKind.RENAMED:
        yield [NotifyRecord(_ACTIONS[change.kind], name)]
    elif _parent(change.path) == _parent(change.target):
        new = NotifyRecord(n.FILE_ACTION_RENAMED_NEW_NAME, nt_path(change.target))
        yield [NotifyRecord(n.FILE_ACTION_RENAMED_OLD_NAME, name), new]
    else:
        yield [NotifyRecord(n.FILE_ACTION_REMOVED, name)]
        yield [NotifyRecord(n.FILE_ACTION_ADDED, nt_path(change.target))]


def _name_filter(directory: bool) -> int:
    return n.FILE_NOTIFY_CHANGE_DIR_NAME if directory else n.FILE_NOTIFY_CHANGE_FILE_NAME


def _parent(path: str) -> str | None:
    """The directory above; None above the root."""
    return path.rpartition("/")[0] if path else None
