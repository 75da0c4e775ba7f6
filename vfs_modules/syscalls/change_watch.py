"""What others do in a directory or a tree, out of inotify's events (see `lamina.vfs_modules.changes`).

A tree is watched directory by directory. A new one is watched first and listed then, so that nothing which is made in
it at once is missed; what the list has told already is recognised among the events that had come meanwhile. A directory
that was moved here may hold anything: what is in it is no change, but if something was made in it since it arrived,
whoever watches is told to look for themselves. The same answer is given where a limit leaves a directory unwatched.
"""

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from lamina.vfs_modules.changes import LOST, Change, ChangeKind, ChangeQuery, shown
from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.syscalls import inotify as i
from lamina.vfs_modules.syscalls.paths import open_component, openat
from lamina.vfs_modules.token import ImpersonationToken

MAX_QUEUED: Final = 16_384
"""Changes kept for a watch that is not polled: as many as the kernel keeps; beyond that they are lost."""

_VISITS: Final = 64
"""New directories that are looked into before the event loop serves others again."""

_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EACCES, errno.EPERM})
_LIMITS: Final = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class _Visit(NamedTuple):
    """A directory that is not watched yet. `new`: it was made just now, so what is in it is new as well.

    `arrived`: nanoseconds; what was made in a directory since then is new.
    """

    path: str
    new: bool
    arrived: int | None = None


class ChangeWatcher:
    """One watch."""

    def __init__(
        self,
        inotify: i.Inotify,
        token: ImpersonationToken,
        fd: int,
        query: ChangeQuery,
        closed: Callable[["ChangeWatcher"], None],
    ) -> None:
        self._inotify = inotify
        self._token = token
        self._top = os.dup(fd)
        self._query = query
        self._closed: Callable[[ChangeWatcher], None] | None = closed
        self._mask = i.NAMES | i.CONTENTS if query.contents else i.NAMES
        self._queue: list[Change] = []
        self._by_path: dict[str, i.Spot] = {}
        self._by_number: dict[int, i.Spot] = {}
        self._visits: deque[_Visit] = deque()
        # By the cookie of a rename whose other half has not come: where it stands in the queue, and the path.
        self._departed: dict[int, tuple[int, Change]] = {}
        # By watched directory: names that its listing has told, until the events of the time before are through.
        self._told: dict[i.Spot, set[str]] = {}
        self._growing = query.tree

    def begin(self) -> None:
        """Watch the directory itself. Raises OSError."""
        fd = self._open("")
        try:
            self._inotify.drain()  # what happened before is not this watch's business
            spot = self._inotify.add(self._token, fd, self._mask, self)
        finally:
            os.close(fd)
        self._by_path[""] = self._by_number[spot.number] = spot
        self._inotify.listen(self, True)
        if self._query.tree:
            self._visits.append(_Visit("", False))

    def grow(self) -> bool:
        """Watch some more of the directories beneath; whether there are still others."""
        self._visit_some()
        self._growing = bool(self._visits)
        return self._growing

    # -- asked by whoever watches -----------------------------------------------------------------------------------

    def poll(self) -> list[Change]:
        """What happened since the last poll."""
        self._inotify.drain()
        changes, self._queue = self._queue, []
        self._departed.clear()
        skip = self._query.skip
        if skip is None:
            return changes
        return [left for change in changes if (left := shown(change, skip)) is not None]

    def close(self) -> None:
        """Stop watching."""
        closed, self._closed = self._closed, None
        if closed is None:
            return
        for spot in self._by_number.values():
            self._inotify.remove(spot)
        self._by_number.clear()
        self._by_path.clear()
        self._visits.clear()
        closed(self)
        os.close(self._top)

    # -- told by inotify --------------------------------------------------------------------------------------------

    def event(self, spot: i.Spot, mask: int, cookie: int, name: str) -> None:
        """Something happened to a name in a directory of the tree."""
        path = f"{spot.path}/{name}" if spot.path else name
        directory = bool(mask & i.IN_ISDIR)
        if mask & i.NAMES:
            if self._was_told(spot, mask, name):
                return
            self._name_event(mask, cookie, path, directory)
        elif mask & i.IN_MODIFY:
            self._put(Change(ChangeKind.DATA, path, directory))
        else:
            self._put(Change(ChangeKind.ATTRIBUTES, path, directory))

    def _was_told(self, spot: i.Spot, mask: int, name: str) -> bool:
        told = self._told.get(spot)
        if told is None or name not in told:
            return False
        told.discard(name)
        return bool(mask & (i.IN_CREATE | i.IN_MOVED_TO))

    def _name_event(self, mask: int, cookie: int, path: str, directory: bool) -> None:
        if mask & i.IN_CREATE:
            self._put(Change(ChangeKind.ADDED, path, directory))
            self._visit_later(_Visit(path, True), directory)
        elif mask & i.IN_DELETE:
            self._put(Change(ChangeKind.REMOVED, path, directory))
        elif mask & i.IN_MOVED_FROM:
            change = Change(ChangeKind.REMOVED, path, directory)
            self._put(change)
            self._departed[cookie] = len(self._queue) - 1, change
        else:
            self._arrive(cookie, path, directory)

    def _arrive(self, cookie: int, path: str, directory: bool) -> None:
        at, left = self._departed.pop(cookie, (0, LOST))
        if left is LOST or at >= len(self._queue) or self._queue[at] is not left:
            self._put(Change(ChangeKind.ADDED, path, directory))
            self._visit_later(_Visit(path, False, 0), directory)
            return
        self._queue[at] = Change(ChangeKind.RENAMED, left.path, directory, path)
        if directory and self._query.tree and not self._move(left.path, path):
            self._visit_later(_Visit(path, True), directory)

    def _move(self, source: str, target: str) -> bool:
        """A directory of the tree has another name; whether it was being watched, or is about to be."""
        moved = [spot for spot in self._by_number.values() if _is_within(spot.path, source)]
        for spot in moved:
            del self._by_path[spot.path]
        for spot in moved:
            spot.path = target + spot.path[len(source) :]
            self._by_path[spot.path] = spot
        waiting = [visit for visit in self._visits if _is_within(visit.path, source)]
        self._visits = deque(
            visit._replace(path=target + visit.path[len(source) :]) if _is_within(visit.path, source) else visit
            for visit in self._visits
        )
        return bool(moved or waiting)

    def lost(self) -> None:
        """Events are missing: new directories among them may be unknown, so the tree is looked through again."""
        self._lose()
        if self._query.tree and self._closed is not None:
            self._visits = deque([_Visit("", False)])

    def gone(self, spot: i.Spot) -> None:
        """A directory of the tree is no more."""
        if self._by_number.pop(spot.number, None) is not None:
            self._by_path.pop(spot.path, None)
            if not spot.path:
                self._lose()

    def drained(self) -> bool:
        """All events were told: watch what is new, and wake whoever watches."""
        if self._closed is None:
            return False
        self._told.clear()
        self._forget_departed()
        if not self._growing and self._visit_some():
            return True
        if self._queue:
            self._query.wake()
        return False

    # -- the tree ---------------------------------------------------------------------------------------------------

    def _forget_departed(self) -> None:
        """What left the tree is not watched any more."""
        for _, change in self._departed.values():
            if change.is_directory and self._query.tree:
                for spot in [spot for spot in self._by_number.values() if _is_within(spot.path, change.path)]:
                    self._forget(spot)
        self._departed.clear()

    def _forget(self, spot: i.Spot) -> None:
        del self._by_number[spot.number]
        self._by_path.pop(spot.path, None)
        self._inotify.remove(spot)

    def _visit_later(self, visit: _Visit, directory: bool) -> None:
        skip = self._query.skip
        if directory and self._query.tree and not (skip is not None and skip(visit.path)):
            self._visits.append(visit)

    def _visit_some(self) -> bool:
        looked = False
        for _ in range(_VISITS):
            if not self._visits:
                break
            looked = True
            self._visit(self._visits.popleft())
        return looked

    def _visit(self, visit: _Visit) -> None:
        try:
            fd = self._open(visit.path)
        except OSError as error:
            self._give_up(error)
            return
        try:
            self._look_into(fd, visit)
        except OSError as error:
            self._give_up(error)
        finally:
            os.close(fd)

    def _open(self, path: str) -> int:
        if "/" in path:
            return openat(self._token, self._top, encode_name(path), _READ | os.O_NOFOLLOW)
        return open_component(self._token, self._top, encode_name(path or "."), _READ, 0)

    def _give_up(self, error: OSError) -> None:
        if error.errno in _LIMITS:
            # What cannot be watched is not looked for either; what can goes on being watched.
            self._visits.clear()
            self._lose()
        elif error.errno not in _NOT_THERE:
            raise error

    def _look_into(self, fd: int, visit: _Visit) -> None:
        known = self._by_path.get(visit.path)
        if known is None:
            known = self._watch(fd, visit.path)
        elif visit.new:
            return  # seen when its parent was listed
        arrived = self._check_arrived(fd, visit.arrived)
        names = self._list(fd)
        if visit.new:
            self._told[known] = set(names)
        for name, directory in names.items():
            path = f"{visit.path}/{name}" if visit.path else name
            if visit.new:
                self._put(Change(ChangeKind.ADDED, path, directory))
            self._visit_later(_Visit(path, visit.new, arrived), directory)

    def _check_arrived(self, fd: int, arrived: int | None) -> int | None:
        """When the directory came here; if something was made in it since, that is lost."""
        if arrived is None:
            return None
        status = os.fstat(fd)
        # The change time of what was moved is the rename's, and counts for everything that came with it.
        since = arrived or status.st_ctime_ns
        if status.st_mtime_ns >= since:
            self._lose()
        return since

    def _watch(self, fd: int, path: str) -> i.Spot:
        spot = self._inotify.add(self._token, fd, self._mask, self, path)
        known = self._by_number.get(spot.number)
        if known is not None:
            # The same directory under a name that it had before.
            self._inotify.remove(spot)
            self._by_path.pop(known.path, None)
            spot, spot.path = known, path
        self._by_path[path] = self._by_number[spot.number] = spot
        return spot

    def _list(self, fd: int) -> dict[str, bool]:
        assume(self._token)
        with os.scandir(fd) as entries:
            return {decode_name(os.fsencode(item.name)): item.is_dir(follow_symlinks=False) for item in entries}

    # -- the queue --------------------------------------------------------------------------------------------------

    def _put(self, change: Change) -> None:
        queue = self._queue
        if queue and (queue[-1] == change or queue[0] is LOST) and change.kind is not ChangeKind.RENAMED:
            return
        if len(queue) >= MAX_QUEUED:
            self._lose()
        else:
            queue.append(change)

    def _lose(self) -> None:
        self._queue = [LOST]
        self._departed.clear()


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")
