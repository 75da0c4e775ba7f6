"""Watching directories with inotify: the watches of a backend, on one descriptor (see `inotify`).

`NameWatch` is for who must know the names of a directory exactly, whenever it asks; `change_watch.ChangeWatcher` for
who wants to be told what others do.
"""

from collections.abc import Callable

from lamina.vfs_modules.changes import ChangeQuery
from lamina.vfs_modules.operations import NameEvent
from lamina.vfs_modules.syscalls.change_watch import ChangeWatcher
from lamina.vfs_modules.syscalls.inotify import IN_CREATE, IN_MOVED_TO, NAMES, Inotify, Spot
from lamina.vfs_modules.token import ImpersonationToken

_ADDED = IN_CREATE | IN_MOVED_TO

MAX_QUEUED = 4096
"""Events kept for a watch that nobody polls; beyond that they are given up and it must read its directory again."""

LOST = NameEvent("lost", None)
"""Events were lost, or the directory is gone."""


class NameWatch:
    """One watch: the queue of a directory's events for one asker."""

    __slots__ = ("_close", "_drain", "queue")

    def __init__(self, drain: Callable[[], None]) -> None:
        self._drain = drain
        self._close: Callable[[], None] | None = None
        self.queue: list[NameEvent] = []

    def begin(self, close: Callable[[], None]) -> None:
        """The watch has begun; `close` ends it."""
        self._close = close

    def poll(self) -> list[NameEvent]:
        """Everything that happened since the last poll, in order."""
        self._drain()
        events, self.queue = self.queue, []
        return events

    def event(self, spot: Spot, mask: int, cookie: int, name: str) -> None:
        """A name has come or gone."""
        self.put(NameEvent("added" if mask & _ADDED else "removed", name))

    def lost(self) -> None:
        """Events are missing."""
        self.put(LOST)

    def gone(self, spot: Spot) -> None:
        """The directory is no more."""
        self.put(LOST)

    def drained(self) -> bool:
        """All is told; whoever watches names asks for them."""
        return False

    def put(self, event: NameEvent) -> None:
        """Queue an event; too many become the one that says that they are lost."""
        if len(self.queue) >= MAX_QUEUED or event is LOST:
            self.queue = [LOST]
        else:
            self.queue.append(event)

    def close(self) -> None:
        """Stop watching. Harmless the second time."""
        close, self._close = self._close, None
        if close is not None:
            close()


class Notifier:
    """The watches of a backend. `limit`: directories that may be watched. Used on the event loop's thread only."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self._inotify = Inotify(limit)
        self._changes = 0

    def watch(self, token: ImpersonationToken, fd: int) -> NameWatch:
        """Watch the names of a descriptor's directory. ENOSPC or EMFILE at the limits, EACCES without permission."""
        inotify = self._inotify
        watch = NameWatch(inotify.drain)
        # What happened before this watch began is not its business.
        inotify.drain()
        spot = inotify.add(token, fd, NAMES, watch)
        inotify.listen(watch, False)

        def close() -> None:
            inotify.remove(spot)
            inotify.ignore(watch, False)

        watch.begin(close)
        return watch

    def watch_changes(self, token: ImpersonationToken, fd: int, query: ChangeQuery) -> ChangeWatcher:
        """Watch what others do in a descriptor's directory; of a tree call `ChangeWatcher.grow` until it is false."""
        watcher = ChangeWatcher(self._inotify, token, fd, query, self._end_changes)
        self._changes += 1
        try:
            watcher.begin()
        except BaseException:
            watcher.close()
            raise
        return watcher

    def _end_changes(self, watcher: ChangeWatcher) -> None:
        self._changes -= 1
        self._inotify.ignore(watcher, not self._changes)

    def drain(self) -> None:
        """Hand every event that the kernel has to the watches of its directory."""
        self._inotify.drain()

    def watched(self) -> int:
        """How many directories are being watched."""
        return len(self._inotify)

    def close(self) -> None:
        """Give the descriptor back; the watches that are left say that they lost their events."""
        self._inotify.close()
