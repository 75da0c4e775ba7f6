"""What others do in watched directories, and telling it from what the share's own clients do (MS-SMB2 3.3.1.3).

A change that a client makes is reported by the operation that makes it, with all that only ntfsa knows of it. The
chain's source of changes (`watch_changes`) sees it a second time, as it sees what local programs and other shares do.
So what it says is compared with what is being done:

Of names that an operation changes, it is held until the operation is over and then told around it (`name_changes`).

What changes a file's content or attributes is a *window*: the source is emptied before it and after it, and what comes
in between about that file is dropped, where the operation succeeds. For whatever does it tells of it afterwards.

Writes are too many for that. The file that was written to is only noted, and what the source says of its content when
it is next emptied is dropped: the flush or the close of whoever wrote tells of it. It empties the source first, so that
what comes after it is told.

Where somebody watches on another worker, that one is told of all this, and does the same (see `foreign_changes`).

While nobody watches, the chain's functions are its own and none of this costs anything.
"""

import asyncio
import errno
import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.naming.lookup import join
from lamina.ntfsa.notify.observed_chain import ObservedChain, Window
from lamina.ntfsa.notify.own_changes import CONTENT
from lamina.vfs_modules.changes import LOST, Change, ChangeKind, ChangeQuery, ChangeWatch

if TYPE_CHECKING:
    from lamina.ntfsa.notify.watchers import Watcher, Watchers
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

_CONTENTS: Final = ~(n.FILE_NOTIFY_CHANGE_FILE_NAME | n.FILE_NOTIFY_CHANGE_DIR_NAME | n.FILE_NOTIFY_CHANGE_STREAM_NAME)
_MAX_CACHED: Final = 4096

_Key = tuple[object, ...]


class Source:
    """A watch of the chain that those share who watch the same directory for the same. `watch` None: not begun yet."""

    __slots__ = ("_all", "contents", "key", "owed", "watch", "watchers", "written")

    def __init__(self, key: _Key, watcher: "Watcher", watchers: "Watchers") -> None:
        self.key = key
        self.contents = _wants_contents(watcher)
        self.watch: ChangeWatch | None = None
        self.watchers = [watcher]
        self.written: set[str] = set()
        """The files that clients have written to since the source was last emptied, by their chain paths."""
        self.owed: set[str] = set()
        """Those that they have written to and not yet told of, and of which the source has told nobody either."""
        self._all = watchers

    @property
    def path(self) -> str:
        """The directory's chain path, which its watchers keep true."""
        return self.watchers[0].path if self.watchers else ""

    def tell(self, changes: Iterable[Change]) -> None:
        """Tell those who watch."""
        for change in changes:
            for watcher in tuple(self.watchers):
                self._all.tell(watcher, change)


_Concerned = tuple[tuple[Source, ...], tuple[Source, ...]]


class LocalChanges:
    """The sources of a volume's watchers, and the windows of its operations."""

    def __init__(self, volume: "NtVolume", watchers: "Watchers") -> None:
        self._volume = volume
        self._watchers = watchers
        self._by_key: dict[_Key, Source] = {}
        self._source_of: dict[Watcher, Source] = {}
        self._names = volume.name_changes
        self._windows: dict[str, list[Window]] = {}
        self._chain = ObservedChain(volume, self)
        self._gathered: OrderedDict[Source, list[Change]] = OrderedDict()
        self._offers_soon = False
        self.written_elsewhere: dict[str, set[int]] = {}
        """The files that other workers' clients have written to without telling of it yet, and whose clients."""
        # By directory: the sources that see changes in it, and those of them that see contents.
        self._concerned: dict[str, _Concerned] = {}

    # -- watchers ---------------------------------------------------------------------------------------------------

    def begin(self, token: "ImpersonationToken", open_: "NtOpen", watcher: "Watcher") -> None:
        """Find out for a watcher what others do, as far as `token` may list it; may wait.

        A watcher that cannot have everything is told to look for itself, once (NOTIFY_ENUM_DIR).
        """
        key = _key_of(token, open_, watcher)
        source = self._by_key.get(key)
        if source is not None and source.watch is not None:
            # What happened before is not the new watcher's business.
            self._collect(source)
            source.watchers.append(watcher)
            self._enter(watcher, source)
            return
        source = self._by_key[key] = Source(key, watcher, self._watchers)
        self._enter(watcher, source)
        self._chain.begin()
        try:
            self._begin_source(token, open_, source)
        except OSError as error:
            self.end(watcher)
            if error.errno != errno.ENOTSUP:
                log.info("share %s: %r is not watched: %s", self._volume.name, open_.path, error.strerror)
                watcher.lose()
        except BaseException:
            self.end(watcher)
            raise

    def _enter(self, watcher: "Watcher", source: Source) -> None:
        self._source_of[watcher] = source
        self.watchers_changed()

    def _begin_source(self, token: "ImpersonationToken", open_: "NtOpen", source: Source) -> None:
        tree = source.watchers[0].watch_tree
        query = ChangeQuery(tree, source.contents, lambda: self._woken(source))
        watch = self._volume.chain.watch_changes(token, open_.handle, query)
        if not source.watchers:
            watch.close()  # whoever wanted it has gone meanwhile
            return
        source.watch = watch
        self._collect(source)

    def end(self, watcher: "Watcher") -> None:
        """Let go of a watcher's source; nothing happens where it has none."""
        source = self._source_of.pop(watcher, None)
        self.watchers_changed()
        if source is None:
            return
        if len(source.watchers) == 1 and self._by_key.get(source.key) is source:
            del self._by_key[source.key]
        source.watchers.remove(watcher)
        if not source.watchers and source.watch is not None:
            source.watch.close()
        self._leave_chain()

    def _leave_chain(self) -> None:
        if not self._source_of and not self.is_watched_elsewhere:
            self._chain.end()

    def watchers_changed(self) -> None:
        """A watcher has come, gone or moved."""
        self._concerned.clear()

    def concerned_by(self, path: str) -> _Concerned:
        """The sources that see changes of a file, and those of them that see what it holds."""
        directory = path.rpartition("/")[0]
        known = self._concerned.get(directory)
        if known is None:
            if len(self._concerned) >= _MAX_CACHED:
                self._concerned.clear()
            found = (self._source_of.get(watcher) for watcher in self._watchers.watching(path))
            sources = tuple(dict.fromkeys(source for source in found if source is not None))
            known = self._concerned[directory] = sources, tuple(source for source in sources if source.contents)
        return known

    # -- changes ----------------------------------------------------------------------------------------------------

    def _collect(self, source: Source) -> None:
        if source.watch is not None:
            self._gather(source, source.watch)
            peers = self._volume.peers
            if peers is None or peers.read_changes():
                self.offer_gathered()

    def _woken(self, source: Source) -> None:
        if self._volume.peers is None:
            self._collect(source)
        elif source.watch is not None:
            # It may be in the midst of telling all its watches, which the letters of others must not be read before.
            self._gather(source, source.watch)
            if not self._offers_soon:
                self._offers_soon = True
                asyncio.get_running_loop().call_soon(self._offer_woken)

    def _offer_woken(self) -> None:
        self._offers_soon = False
        peers = self._volume.peers
        if peers is None or peers.read_changes():
            self.offer_gathered()

    def _gather(self, source: Source, watch: ChangeWatch) -> None:
        self._gathered.setdefault(source, []).extend(watch.poll())

    def gather(self) -> None:
        """Empty all sources; what they say is told or held when it is offered."""
        for source in tuple(self._by_key.values()):
            if source.watch is not None:
                self._gather(source, source.watch)

    def offer_gathered(self) -> None:
        """Tell or hold what the sources have said."""
        while self._gathered:
            source, changes = self._gathered.popitem(last=False)
            for change in changes:
                self._offer(source, change)
                if change.kind is ChangeKind.RENAMED and (source.written or source.owed):
                    self._offer_moved(source, change)
                elif change.kind is ChangeKind.REMOVED and source.owed:
                    source.owed.discard(join(source.path, change.path))
            source.written.clear()

    def _offer(self, source: Source, change: Change) -> None:
        if not source.watchers:
            return
        if change.kind in CONTENT:
            self._offer_content(source, change)
        elif change is not LOST and self._names:
            self._offer_name(source, change)
        else:
            source.tell((change,))

    def _offer_moved(self, source: Source, change: Change) -> None:
        # Whoever has written may tell of it under the name that it had. Not if a client has renamed it: then he knows.
        old, new = join(source.path, change.path), join(source.path, change.target)
        owed = {path for path in source.owed if path == old or path.startswith(old + "/")}
        source.owed -= owed
        moved = {path for path in source.written if path == old or path.startswith(old + "/")}
        if self._names.at(old) is None:
            moved |= owed
        else:
            source.owed |= {new + path[len(old) :] for path in owed}
        for path in moved:
            self._offer(source, Change(ChangeKind.DATA, change.target + path[len(old) :]))

    def _offer_content(self, source: Source, change: Change) -> None:
        path = join(source.path, change.path)
        if self.is_written(source, change):
            source.owed.add(path)
            return
        windows = self._windows.get(path)
        names = self._names.at(path)
        if windows:
            windows[0].held[source, change] = None
        elif names is not None:
            names.hold(source, change)
        else:
            source.tell((change,))

    def _offer_name(self, source: Source, change: Change) -> None:
        """Hold a change of a name that a client changes just now, and what happens to the other name of a rename."""
        path = join(source.path, change.path)
        holder = self._names.at(path)
        if change.kind is ChangeKind.RENAMED:
            target = join(source.path, change.target)
            other = self._names.at(target)
            if holder is not None and other is not None and holder is not other:
                self._offer_name(source, Change(ChangeKind.REMOVED, change.path, change.is_directory))
                self._offer_name(source, Change(ChangeKind.ADDED, change.target, change.is_directory))
                return
            holder = holder or other
            if holder is not None:
                self._names.extend(holder, path, target)
        if change.is_directory and (holder is None or self._volume.peers is None):
            for beneath in self._names.beneath(path):
                # It is done in a directory that has another name by now.
                beneath.doubt(source)
        if holder is not None:
            holder.hold(source, change)
        else:
            source.tell((change,))

    def look(self, paths: Iterable[str]) -> None:
        """Empty the sources of these names: what has happened until now is told, or held."""
        # A poll of one watch gathers for all of a chain: see `ChangeWatch.poll`.
        for source in {source: None for path in paths for source in self.concerned_by(path)[0][:1]}:
            self._collect(source)

    def settle(self, path: str) -> bool:
        """A file is about to be told of as modified: that covers what was written to it so far, and nothing later.

        Whether other workers are to know that, too.
        """
        for source in self.concerned_by(path)[1]:
            if path in source.written:
                self._collect(source)
            source.owed.discard(path)
        return self._chain.settle(path)

    # -- other workers ----------------------------------------------------------------------------------------------

    @property
    def is_watched_elsewhere(self) -> bool:
        """Whether somebody watches on another worker."""
        peers = self._volume.peers
        return peers is not None and peers.is_watched

    def watched_elsewhere(self) -> None:
        """Somebody has begun to watch on another worker, or nobody does any more."""
        self._chain.announce_anew()
        if self.is_watched_elsewhere:
            self._chain.begin()
        else:
            self._leave_chain()

    def is_written(self, source: Source, change: Change) -> bool:
        """Whether it is the content of a file that was written to, of which the writer will tell."""
        if change.kind is not ChangeKind.DATA:
            return False
        path = join(source.path, change.path)
        return path in source.written or path in self.written_elsewhere

    def settle_elsewhere(self, path: str, worker: int) -> None:
        """Another worker tells of what it has written to a file."""
        writers = self.written_elsewhere.get(path)
        if writers is not None:
            writers.discard(worker)
            if not writers:
                del self.written_elsewhere[path]
        for source in self.concerned_by(path)[1]:
            source.owed.discard(path)

    def move_written(self, source: str, target: str) -> None:
        """A name has become another, and with it what is beneath it."""
        for path in [path for path in self.written_elsewhere if path == source or path.startswith(source + "/")]:
            self.written_elsewhere[target + path[len(source) :]] = self.written_elsewhere.pop(path)

    # -- windows ----------------------------------------------------------------------------------------------------

    def open_window(self, window: Window) -> None:
        """An operation on what files hold begins."""
        self.look(window.paths)
        self.enter_window(window)
        if self._volume.peers is not None:
            window.announced = self._volume.peers.window_opens(window.paths)

    def enter_window(self, window: Window) -> None:
        """Hold what is told of its files."""
        for path in window.paths:
            self._windows.setdefault(path, []).append(window)

    def close_window(self, window: Window, succeeded: bool) -> None:
        """It is over. If it has failed, what was held is somebody else's."""
        # Whoever has begun to watch meanwhile is told of it, too.
        self.look(window.paths)
        self.leave_window(window, succeeded)
        if window.announced is not None and self._volume.peers is not None:
            self._volume.peers.window_closes(window.announced, succeeded)

    def leave_window(self, window: Window, succeeded: bool) -> None:
        """Hold nothing for it any more."""
        for path in window.paths:
            windows = self._windows[path]
            windows.remove(window)
            if not windows:
                del self._windows[path]
        if not succeeded:
            for source, change in window.held:
                self._offer(source, change)


def _wants_contents(watcher: "Watcher") -> bool:
    return bool(watcher.completion_filter & _CONTENTS)


def _key_of(token: "ImpersonationToken", open_: "NtOpen", watcher: "Watcher") -> _Key:
    # How much of a tree is seen depends on who asks; who may list the directory itself was checked when it was opened.
    user = token.cache_id if watcher.watch_tree else 0
    return open_.file_key, watcher.path, watcher.watch_tree, _wants_contents(watcher), user
