"""The operations of a share's own clients, as they are done: what of all that a source tells is theirs.

The chain's functions are replaced while somebody watches, here or on another worker: those that change what files hold
are done in windows, writes are noted, and of handles is known under which name they were opened (see `local_changes`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lamina.ntfsa.notify.name_changes import Announced
from lamina.ntfsa.notify.own_changes import OF_NAMES, OF_ONE_FILE, HandlePaths
from lamina.vfs_modules.changes import Change
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Operation

if TYPE_CHECKING:
    from lamina.ntfsa.notify.local_changes import LocalChanges, Source
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken

_Function = Callable[..., Any]


class Window:
    """An operation that changes what files hold, while it is being done; `held`: what was told of them meanwhile.

    `announced`: other workers know of it.
    """

    __slots__ = ("announced", "held", "local", "paths")

    def __init__(self, local: "LocalChanges", paths: Sequence[str]) -> None:
        self.local = local
        self.paths = paths
        self.held: dict[tuple[Source, Change], None] = {}
        self.announced: Announced | None = None

    def __enter__(self) -> None:
        self.local.open_window(self)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.local.close_window(self, kind is None)


class ObservedChain:
    """A volume's chain, its functions replaced from `begin` to `end`."""

    def __init__(self, volume: "NtVolume", local: "LocalChanges") -> None:
        self._volume = volume
        self._local = local
        self._handles: HandlePaths | None = None
        # What clients here have written to without telling of it yet, as far as other workers know.
        self._announced_writes: set[str] = set()

    def begin(self) -> None:
        """Replace them, if that is not so already."""
        if self._handles is None:
            opens = [(open_.handle, open_.vfs_path) for open_ in self._volume.all_opens()]
            self._handles = HandlePaths([(self._volume.root, ""), *opens])
            self._volume.whole_chain.interpose(self._observed)

    def end(self) -> None:
        """Put them back."""
        if self._handles is not None:
            self._volume.whole_chain.restore()
            self._handles = None

    # -- what other workers know of writes ----------------------------------------------------------------------------

    def announce_anew(self) -> None:
        """There are others who must know what is written to."""
        self._announced_writes.clear()

    def settle(self, path: str) -> bool:
        """A file is about to be told of as modified. Whether other workers are to know that."""
        known = path in self._announced_writes
        self._announced_writes.discard(path)
        return known

    def _announce_write(self, path: str) -> None:
        peers = self._volume.peers
        if peers is not None and peers.is_watched and path not in self._announced_writes:
            self._announced_writes.add(path)
            peers.writes(path)

    def _settle_at_close(self, path: str) -> None:
        peers = self._volume.peers
        if path in self._announced_writes and peers is not None:
            self._announced_writes.discard(path)
            peers.settled(path)

    def _renamed(self, source: str, target: str) -> None:
        assert self._handles is not None
        self._handles.renamed(source, target)
        moved = {path for path in self._announced_writes if path == source or path.startswith(source + "/")}
        self._announced_writes -= moved
        self._announced_writes |= {target + path[len(source) :] for path in moved}

    # -- operations -------------------------------------------------------------------------------------------------

    def _observed(self, operation: Operation, call: _Function) -> _Function:
        handles = self._handles
        assert handles is not None
        if operation.name in OF_NAMES:
            return self._observed_names(handles, operation.name, call)
        if operation.name == "close":
            return self._observed_close(handles, call)
        if operation.name == "open_stream":
            return self._observed_stream(handles, call)
        if operation.name == "pwrite":
            return self._observed_write(handles, call)
        if operation.name in OF_ONE_FILE:
            return self._observed_of_file(handles, call)
        return self._observed_of_files(handles, operation.name, call) if operation.mutates else call

    def _observed_stream(self, handles: HandlePaths, call: _Function) -> _Function:
        def observed(token: "ImpersonationToken", handle: VfsHandle, *arguments: Any, **keywords: Any) -> VfsHandle:
            path = handles.path_of(handle)
            if path is None:
                return call(token, handle, *arguments, **keywords)  # type: ignore[no-any-return]
            with Window(self._local, (path,)):
                stream: VfsHandle = call(token, handle, *arguments, **keywords)
            handles.note(stream, path, True)
            return stream

        return observed

    def _observed_write(self, handles: HandlePaths, call: _Function) -> _Function:
        """Writes to files are noted only; those to streams may change anything of a file, and nobody tells of that."""
        of_stream = self._observed_of_file(handles, call)

        def observed(token: "ImpersonationToken", handle: VfsHandle, *arguments: Any) -> int:
            if handle in handles.streams:
                return of_stream(token, handle, *arguments)  # type: ignore[no-any-return]
            path = handles.path_of(handle) or ""
            concerned = self._local.concerned_by(path)[1] if path else ()
            for source in concerned:
                source.written.add(path)
            self._announce_write(path)
            try:
                return call(token, handle, *arguments)  # type: ignore[no-any-return]
            finally:
                # If it has waited, the first note may be gone.
                for source in concerned:
                    source.written.add(path)
                self._announce_write(path)

        return observed

    def _observed_of_file(self, handles: HandlePaths, call: _Function) -> _Function:
        """What changes a file's content or attributes, and is nobody's business who watches names alone."""

        def observed(token: "ImpersonationToken", handle: VfsHandle, *arguments: Any, **keywords: Any) -> Any:
            path = handles.path_of(handle)
            if not path or self._is_nobodys(path) or self._is_made(path):
                return call(token, handle, *arguments, **keywords)
            with Window(self._local, (path,)):
                return call(token, handle, *arguments, **keywords)

        return observed

    def _is_nobodys(self, path: str) -> bool:
        return not self._local.concerned_by(path)[1] and not self._local.is_watched_elsewhere

    def _is_made(self, path: str) -> bool:
        # Whoever makes the file will tell of it, and of what it holds with it.
        names = self._volume.name_changes.at(path)
        return names is not None and names.makes(path)

    def _observed_of_files(self, handles: HandlePaths, name: str, call: _Function) -> _Function:
        def observed(token: "ImpersonationToken", *arguments: Any, **keywords: Any) -> Any:
            with Window(self._local, handles.touched(name, arguments)):
                return call(token, *arguments, **keywords)

        return observed

    def _observed_names(self, handles: HandlePaths, name: str, call: _Function) -> _Function:
        def observed(token: "ImpersonationToken", *arguments: Any, **keywords: Any) -> Any:
            result = call(token, *arguments, **keywords)
            paths = handles.touched(name, arguments)
            if name == "open" and paths:
                handles.note(result, paths[0])
            elif len(paths) == 2:
                self._renamed(*paths)
            return result

        return observed if name in {"open", "rename"} else call

    def _observed_close(self, handles: HandlePaths, call: _Function) -> _Function:
        def close(token: "ImpersonationToken", handle: VfsHandle) -> None:
            if self._announced_writes:
                self._settle_at_close(handles.path_of(handle) or "")
            handles.forget(handle)
            call(token, handle)

        return close
