"""What others do in watched directories, and telling it from what the share's own clients do (MS-SMB2 3.3.1.3).

A change that a client makes is reported by the operation that makes it, with all that only ntfsa knows of it. The
chain's source of changes (`watch_changes`) sees it a second time, as it sees what local programs and other shares do.
So while there is a source, every operation of the chain that changes something is a *window*: the source is emptied
before it and after it, and what comes in between about the very name that it changes is held. If the operation
succeeds, what it must have caused is dropped: one appearance, one disappearance, any number of changes of content. What
is left, and all of it where the operation failed, is somebody else's and is told. So nothing is told twice, nothing is
lost, and what others did before an operation is told before it.

While nobody watches, the chain's functions are its own and none of this costs anything.
"""

import errno
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.lookup import join
from lamina.vfs_modules.changes import LOST, Change, ChangeKind, ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Operation, Target

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume
    from lamina.ntfsa.watchers import Watcher, Watchers
    from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

_CONTENTS: Final = ~(n.FILE_NOTIFY_CHANGE_FILE_NAME | n.FILE_NOTIFY_CHANGE_DIR_NAME | n.FILE_NOTIFY_CHANGE_STREAM_NAME)
_MAX_HELD: Final = 1024

_Claim = tuple[ChangeKind, str]
_Function = Callable[..., Any]


class _Window:
    """An operation that is being done: the names it changes, and what is told of them meanwhile."""

    __slots__ = ("claims", "held", "paths")

    def __init__(self, paths: Sequence[str], claims: frozenset[_Claim]) -> None:
        self.paths = paths
        self.claims = claims
        self.held: list[tuple[Watcher, Change]] = []

    def holds(self, change: Change) -> bool:
        """Whether a change of one of its names may be its own doing."""
        return bool(self.claims) or change.kind in {ChangeKind.DATA, ChangeKind.ATTRIBUTES}

    def unclaimed(self) -> list[tuple["Watcher", Change]]:
        """What is somebody else's, after the operation has succeeded. The last of several that are alike is its own."""
        rest = []
        open_claims: dict[Watcher, set[_Claim]] = {}
        for watcher, change in reversed(self.held):
            if change.kind in {ChangeKind.DATA, ChangeKind.ATTRIBUTES}:
                continue
            claims = open_claims.setdefault(watcher, set(self.claims))
            parts = _parts_of(watcher, change)
            if parts <= claims:
                claims -= parts
            else:
                rest.append((watcher, change))
        rest.reverse()
        return rest


def _parts_of(watcher: "Watcher", change: Change) -> set[_Claim]:
    path = join(watcher.path, change.path)
    if change.kind is ChangeKind.RENAMED:
        return {(ChangeKind.REMOVED, path), (ChangeKind.ADDED, join(watcher.path, change.target))}
    return {(change.kind, path)}


class _Handles:
    """Under which chain path each handle of a volume was opened. Renames are followed."""

    def __init__(self, volume: "NtVolume") -> None:
        self._paths: dict[VfsHandle, str] = {}
        self._by_path: dict[str, set[VfsHandle]] = {}
        self.note(volume.root, "")
        for open_ in volume.all_opens():
            self.note(open_.handle, open_.vfs_path)

    def note(self, handle: VfsHandle, path: str) -> None:
        """A handle was opened."""
        self._paths[handle] = path
        self._by_path.setdefault(path, set()).add(handle)

    def forget(self, handle: VfsHandle) -> None:
        """A handle is closed."""
        path = self._paths.pop(handle, None)
        if path is not None:
            handles = self._by_path[path]
            handles.discard(handle)
            if not handles:
                del self._by_path[path]

    def renamed(self, source: str, target: str) -> None:
        """A name has become another, and with it what is beneath it."""
        moved = self._by_path.get(source, set())
        paths = [source] if moved else []
        if any(handle.is_directory for handle in moved):
            paths += [path for path in self._by_path if path.startswith(source + "/")]
        for path in paths:
            for handle in self._by_path.pop(path):
                self.note(handle, target + path[len(source) :])

    def touched(self, arguments: Sequence[object], by_path: bool) -> list[str]:
        """The chain paths of what an operation with these arguments is done to."""
        paths = []
        for at, argument in enumerate(arguments):
            base = self._paths.get(argument) if isinstance(argument, VfsHandle) else None
            if base is None:
                continue
            name = arguments[at + 1] if by_path and at + 1 < len(arguments) else None
            paths.append(join(base, name) if isinstance(name, str) else base)
        return paths


class LocalChanges:
    """The sources of a volume's watchers, and the windows of its operations."""

    def __init__(self, volume: "NtVolume", watchers: "Watchers") -> None:
        self._volume = volume
        self._watchers = watchers
        self._sources: dict[Watcher, ChangeWatch | None] = {}
        self._windows: dict[str, list[_Window]] = {}
        self._handles: _Handles | None = None

    # -- watchers ---------------------------------------------------------------------------------------------------

    def begin(self, token: "ImpersonationToken", open_: "NtOpen", watcher: "Watcher") -> None:
        """Find out for a watcher what others do, as far as `token` may list it; may wait.

        A watcher that cannot have everything is told to look for itself, once (NOTIFY_ENUM_DIR).
        """
        self._sources[watcher] = None
        self._observe_chain()
        query = ChangeQuery(
            watcher.watch_tree, bool(watcher.completion_filter & _CONTENTS), lambda: self._collect(watcher)
        )
        try:
            source = self._volume.chain.watch_changes(token, open_.handle, query)
        except OSError as error:
            self.end(watcher)
            if error.errno != errno.ENOTSUP:
                log.info("share %s: %r is not watched: %s", self._volume.name, open_.path, error.strerror)
                watcher.lose()
            return
        except BaseException:
            self.end(watcher)
            raise
        if watcher not in self._sources:
            source.close()
            return
        self._sources[watcher] = source
        self._collect(watcher)

    def end(self, watcher: "Watcher") -> None:
        """Let go of a watcher's source; nothing happens where it has none."""
        source = self._sources.pop(watcher, None)
        if source is not None:
            source.close()
        if not self._sources and self._handles is not None:
            self._volume.whole_chain.restore()
            self._handles = None

    def _collect(self, watcher: "Watcher") -> None:
        source = self._sources.get(watcher)
        if source is not None:
            for change in source.poll():
                self._offer(watcher, change)

    def _offer(self, watcher: "Watcher", change: Change) -> None:
        window = self._window_of(watcher, change)
        if window is None:
            self._watchers.tell(watcher, change)
        elif len(window.held) < _MAX_HELD:
            window.held.append((watcher, change))
        else:
            self._watchers.tell(watcher, LOST)

    def _window_of(self, watcher: "Watcher", change: Change) -> _Window | None:
        if self._windows and change is not LOST:
            for _, path in _parts_of(watcher, change):
                for window in self._windows.get(path, ()):
                    if window.holds(change):
                        return window
        return None

    # -- operations -------------------------------------------------------------------------------------------------

    def _observe_chain(self) -> None:
        if self._handles is None:
            self._handles = _Handles(self._volume)
            self._volume.whole_chain.interpose(self._observed)

    def _observed(self, operation: Operation, call: _Function) -> _Function:
        if operation.name == "close":
            return self._observed_close(call)
        if not operation.mutates:
            return call
        by_path = operation.target is Target.PATH
        claims_of = _CLAIMS.get(operation.name, _no_claims)

        def observed(token: "ImpersonationToken", *arguments: Any, **keywords: Any) -> Any:
            handles = self._handles
            paths = handles.touched(arguments, by_path) if handles is not None else []
            if not paths:
                return call(token, *arguments, **keywords)
            if claims_of is _claims_of_open and not arguments[2].create:
                result = call(token, *arguments, **keywords)
            else:
                window = _Window(paths, claims_of(paths, arguments))
                result = self._in_window(window, lambda: call(token, *arguments, **keywords))
            self._follow(operation.name, paths, result)
            return result

        return observed

    def _observed_close(self, call: _Function) -> _Function:
        def close(token: "ImpersonationToken", handle: VfsHandle) -> None:
            if self._handles is not None:
                self._handles.forget(handle)
            call(token, handle)

        return close

    def _follow(self, name: str, paths: Sequence[str], result: object) -> None:
        if self._handles is None:
            return
        if isinstance(result, VfsHandle):
            self._handles.note(result, paths[0])
        elif name == "rename" and len(paths) == 2:
            self._handles.renamed(*paths)

    def _in_window(self, window: _Window, call: Callable[[], Any]) -> Any:
        self._empty_sources(window.paths)
        for path in window.paths:
            self._windows.setdefault(path, []).append(window)
        succeeded = False
        try:
            result = call()
            succeeded = True
            return result
        finally:
            self._empty_sources(window.paths)
            self._end(window, succeeded)

    def _empty_sources(self, paths: Sequence[str]) -> None:
        for path in paths:
            for watcher in self._watchers.watching(path):
                self._collect(watcher)

    def _end(self, window: _Window, succeeded: bool) -> None:
        for path in window.paths:
            windows = self._windows[path]
            windows.remove(window)
            if not windows:
                del self._windows[path]
        for watcher, change in window.unclaimed() if succeeded else window.held:
            if watcher in self._sources:
                # Another operation on the same name may have caused it.
                self._offer(watcher, change)


def _no_claims(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[_Claim]:
    return frozenset()


def _claims_of_open(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[_Claim]:
    # Whether one that is not exclusive has made the file nobody can say, so nobody but the source reports it.
    return frozenset({(ChangeKind.ADDED, paths[0])}) if arguments[2].exclusive else frozenset()


def _claims_of_making(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[_Claim]:
    return frozenset({(ChangeKind.ADDED, paths[-1])})


def _claims_of_removing(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[_Claim]:
    return frozenset({(ChangeKind.REMOVED, paths[0])})


def _claims_of_renaming(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[_Claim]:
    return frozenset({(ChangeKind.REMOVED, paths[0]), (ChangeKind.ADDED, paths[-1])})


_CLAIMS: Final[dict[str, Callable[[Sequence[str], Sequence[Any]], frozenset[_Claim]]]] = {
    "open": _claims_of_open,
    "mkdir": _claims_of_making,
    "symlink": _claims_of_making,
    "link": _claims_of_making,
    "unlink": _claims_of_removing,
    "rmdir": _claims_of_removing,
    "rename": _claims_of_renaming,
}
"""What an operation that has succeeded must have caused, and ntfsa reports itself."""
