"""What others do in watched directories, and telling it from what the share's own clients do (MS-SMB2 3.3.1.3).

A change that a client makes is reported by the operation that makes it, with all that only ntfsa knows of it. The
chain's source of changes (`watch_changes`) sees it a second time, as it sees what local programs and other shares do.
So while there is a source, every operation of the chain that changes something is a *window*: the source is emptied
before it and after it, and what comes in between about the very name that it changes is held. If the operation
succeeds, what it must have caused is dropped (see `own_changes`). What is left, and all of it where the operation
failed, is somebody else's and is told. So nothing is told twice, nothing is lost, and what others did before an
operation is told before it; what they do to a new name before its maker has told of it is told afterwards.

While nobody watches, the chain's functions are its own and none of this costs anything.
"""

import errno
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.own_changes import CONTENT, NOTHING, OF_ONE_FILE, HandlePaths, Window, claims_of, parts_of
from lamina.vfs_modules.changes import LOST, Change, ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Operation

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume
    from lamina.ntfsa.watchers import Watcher, Watchers
    from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

_CONTENTS: Final = ~(n.FILE_NOTIFY_CHANGE_FILE_NAME | n.FILE_NOTIFY_CHANGE_DIR_NAME | n.FILE_NOTIFY_CHANGE_STREAM_NAME)
_MAX_HELD: Final = 1024
_MAX_CACHED: Final = 4096

_REPORTED_LATER: Final = frozenset({"open", "mkdir"})
"""What makes a name that is told of when the open is complete (`Watchers.added`), or else taken away again."""
_TAKES_AWAY: Final = frozenset({"unlink", "rmdir"})

_Function = Callable[..., Any]
_Key = tuple[object, ...]


class _Source:
    """A watch of the chain that those share who watch the same directory for the same. `watch` None: not begun yet."""

    __slots__ = ("contents", "key", "watch", "watchers")

    def __init__(self, key: _Key, watcher: "Watcher") -> None:
        self.key = key
        self.contents = _wants_contents(watcher)
        self.watch: ChangeWatch | None = None
        self.watchers = [watcher]

    @property
    def path(self) -> str:
        """The directory's chain path, which its watchers keep true."""
        return self.watchers[0].path if self.watchers else ""


_Concerned = tuple[tuple[_Source, ...], tuple[_Source, ...]]


class LocalChanges:
    """The sources of a volume's watchers, and the windows of its operations."""

    def __init__(self, volume: "NtVolume", watchers: "Watchers") -> None:
        self._volume = volume
        self._watchers = watchers
        self._by_key: dict[_Key, _Source] = {}
        self._source_of: dict[Watcher, _Source] = {}
        self._windows: dict[str, list[Window]] = {}
        # By path: what others did to a name that a client has made, while nobody has been told of it yet.
        self._unreported: dict[str, list[tuple[_Source, Change]]] = {}
        self._handles: HandlePaths | None = None
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
        source = self._by_key[key] = _Source(key, watcher)
        self._enter(watcher, source)
        self._observe_chain()
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

    def _enter(self, watcher: "Watcher", source: _Source) -> None:
        self._source_of[watcher] = source
        self.watchers_changed()

    def _begin_source(self, token: "ImpersonationToken", open_: "NtOpen", source: _Source) -> None:
        tree = source.watchers[0].watch_tree
        query = ChangeQuery(tree, source.contents, lambda: self._collect(source))
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
        if not self._source_of and self._handles is not None:
            self._volume.whole_chain.restore()
            self._handles = None
            self._unreported.clear()

    def watchers_changed(self) -> None:
        """A watcher has come, gone or moved."""
        self._concerned.clear()

    def _concerned_by(self, path: str) -> _Concerned:
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

    def _collect(self, source: _Source) -> None:
        if source.watch is not None:
            for change in source.watch.poll():
                self._offer(source, change)

    def _offer(self, source: _Source, change: Change) -> None:
        held = self._held_for(source, change) if self._windows or self._unreported else None
        if held is not None and len(held) < _MAX_HELD:
            held.append((source, change))
            return
        for watcher in tuple(source.watchers):
            self._watchers.tell(watcher, LOST if held is not None else change)

    def _held_for(self, source: _Source, change: Change) -> list[tuple[_Source, Change]] | None:
        """Where a change has to wait for what becomes of an operation on the same name."""
        if change is LOST or not source.watchers:
            return None
        paths = [path for _, path in parts_of(source, change)]
        for path in paths:
            for window in self._windows.get(path, ()):
                if window.holds(change):
                    return window.held
        if change.kind in CONTENT:
            return None
        return next((self._unreported[path] for path in paths if path in self._unreported), None)

    def reported(self, path: str) -> None:
        """A new name has been told of: now comes what others have done to it since."""
        for source, change in self._unreported.pop(path, ()):
            self._offer(source, change)

    def _taken_back(self, path: str) -> None:
        """A new name is gone before it was told of. Who saw others do something with it must look for themselves."""
        for source in dict.fromkeys(source for source, _ in self._unreported.pop(path, ())):
            self._offer(source, LOST)

    # -- operations -------------------------------------------------------------------------------------------------

    def _observe_chain(self) -> None:
        if self._handles is None:
            opens = [(open_.handle, open_.vfs_path) for open_ in self._volume.all_opens()]
            self._handles = HandlePaths([(self._volume.root, ""), *opens])
            self._volume.whole_chain.interpose(self._observed)

    def _observed(self, operation: Operation, call: _Function) -> _Function:
        handles = self._handles
        assert handles is not None
        if operation.name == "close":
            return _observed_close(handles, call)
        if operation.name in OF_ONE_FILE:
            return self._observed_of_file(handles, call)
        if operation.mutates:
            return self._observed_of_names(handles, operation.name, call)
        return call

    def _observed_of_names(self, handles: HandlePaths, name: str, call: _Function) -> _Function:
        def observed(token: "ImpersonationToken", *arguments: Any, **keywords: Any) -> Any:
            paths = handles.touched(name, arguments)
            if not paths or (name == "open" and not arguments[2].create):
                result = call(token, *arguments, **keywords)
            else:
                window = Window(paths, claims_of(name, paths, arguments))
                self._begin_window(window, self._first_concerned(paths))
                succeeded = False
                try:
                    result = call(token, *arguments, **keywords)
                    succeeded = True
                finally:
                    self._end_window(window, succeeded)
                    if name in _TAKES_AWAY:
                        self._taken_back(paths[0])
                    elif succeeded and name in _REPORTED_LATER:
                        self._unreported.setdefault(paths[0], [])
            if paths:
                self._follow(handles, name, paths, result)
            return result

        return observed

    def _observed_of_file(self, handles: HandlePaths, call: _Function) -> _Function:
        """What changes a file's content or attributes, and is nobody's business who watches names alone."""

        def observed(token: "ImpersonationToken", handle: VfsHandle, *arguments: Any, **keywords: Any) -> Any:
            path = handles.path_of(handle)
            concerned = self._concerned_by(path)[1] if path else ()
            if not path or not concerned:
                return call(token, handle, *arguments, **keywords)
            window = Window((path,), NOTHING)
            self._begin_window(window, concerned[:1])
            succeeded = False
            try:
                result = call(token, handle, *arguments, **keywords)
                succeeded = True
                return result
            finally:
                self._end_window(window, succeeded)

        return observed

    def _follow(self, handles: HandlePaths, name: str, paths: Sequence[str], result: object) -> None:
        if isinstance(result, VfsHandle):
            handles.note(result, paths[0])
        elif name == "rename" and len(paths) == 2:
            source, target = paths
            handles.renamed(source, target)
            for path in [path for path in self._unreported if path == source or path.startswith(source + "/")]:
                self._unreported[target + path[len(source) :]] = []
                self.reported(path)

    def _first_concerned(self, paths: Sequence[str]) -> list[_Source]:
        # A poll of one watch gathers for all of a chain: see `ChangeWatch.poll`.
        return [source for path in paths for source in self._concerned_by(path)[0][:1]]

    def _begin_window(self, window: Window, concerned: Sequence[_Source]) -> None:
        for source in concerned:
            self._collect(source)
        for path in window.paths:
            self._windows.setdefault(path, []).append(window)

    def _end_window(self, window: Window, succeeded: bool) -> None:
        # Whoever has begun to watch meanwhile is told of it, too.
        for source in self._first_concerned(window.paths):
            self._collect(source)
        for path in window.paths:
            windows = self._windows[path]
            windows.remove(window)
            if not windows:
                del self._windows[path]
        others = [other for path in window.paths for other in self._windows.get(path, ())]
        if window.held or others:
            for source, change in window.unclaimed(others) if succeeded else window.held:
                # Another operation on the same name may have caused it.
                self._offer(source, change)
            if succeeded and window.claims:
                self._give_up(others)

    def _give_up(self, others: Sequence[Window]) -> None:
        """Several operations on one name, and others besides: whose is what, and in which order, nobody can say."""
        held = [entry for other in others for entry in other.held if entry[1].kind not in CONTENT]
        for other in others:
            other.held[:] = [entry for entry in other.held if entry[1].kind in CONTENT]
        for source in dict.fromkeys(source for source, _ in held):
            self._offer(source, LOST)


def _wants_contents(watcher: "Watcher") -> bool:
    return bool(watcher.completion_filter & _CONTENTS)


def _key_of(token: "ImpersonationToken", open_: "NtOpen", watcher: "Watcher") -> _Key:
    # How much of a tree is seen depends on who asks; who may list the directory itself was checked when it was opened.
    user = token.cache_id if watcher.watch_tree else 0
    return open_.file_key, watcher.path, watcher.watch_tree, _wants_contents(watcher), user


def _observed_close(handles: HandlePaths, call: _Function) -> _Function:
    def close(token: "ImpersonationToken", handle: VfsHandle) -> None:
        handles.forget(handle)
        call(token, handle)

    return close
