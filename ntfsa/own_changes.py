"""Which of the changes that a source tells of a share's own operations have caused. No I/O, no waiting.

An operation of the chain that changes something has a `Window` while it is being done. What must come of it when it
has succeeded is one appearance or disappearance of a name (`claims_of`), and any number of changes of content.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from lamina.ntfsa.lookup import join
from lamina.vfs_modules.changes import Change, ChangeKind
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import OPERATIONS, Operation, Operations, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

Claim = tuple[ChangeKind, str]
"""A name, by its chain path, that was ADDED or REMOVED."""

_Place = tuple[int, bool]
"""Where in the arguments of an operation a handle stands, and whether the name after it is meant."""

CONTENT: Final = frozenset({ChangeKind.DATA, ChangeKind.ATTRIBUTES})
"""Changes that are about no name."""
NOTHING: Final[frozenset[Claim]] = frozenset()


class Teller(Protocol):
    """Whoever tells of changes in one directory: `path` is its chain path."""

    @property
    def path(self) -> str:
        """The directory that the paths of changes start from."""
        ...


class Window:
    """An operation that is being done: the names that it changes, and what was told of them meanwhile."""

    __slots__ = ("claims", "held", "paths")

    def __init__(self, paths: Sequence[str], claims: frozenset[Claim]) -> None:
        self.paths = paths
        self.claims = claims
        self.held: list[tuple[Any, Change]] = []

    def holds(self, change: Change) -> bool:
        """Whether a change of one of its names may be its own doing."""
        return bool(self.claims) or change.kind in CONTENT

    def unclaimed(self, others: "Iterable[Window]" = ()) -> list[tuple[Any, Change]]:
        """What is somebody else's, now that the operation has succeeded.

        Each teller tells of the operation once; where that is held for one of `others`, operations on the same names,
        it is taken from there. Of several changes that are alike the last one is its own: the others came before it.
        """
        left: dict[Teller, set[Claim]] = {}
        rest = self._claim([entry for entry in self.held if entry[1].kind not in CONTENT], left)
        for other in others:
            other.held[:] = self._claim(other.held, left)
        return rest

    def _claim(self, held: list[tuple[Any, Change]], left: dict[Teller, set[Claim]]) -> list[tuple[Any, Change]]:
        rest = []
        for teller, change in reversed(held):
            claims = left.setdefault(teller, set(self.claims))
            parts = parts_of(teller, change)
            if parts <= claims:
                claims -= parts
            else:
                rest.append((teller, change))
        rest.reverse()
        return rest


def parts_of(teller: Teller, change: Change) -> set[Claim]:
    """The names that a change is about, each with what happened to it."""
    path = join(teller.path, change.path)
    if change.kind is ChangeKind.RENAMED:
        return {(ChangeKind.REMOVED, path), (ChangeKind.ADDED, join(teller.path, change.target))}
    return {(change.kind, path)}


class HandlePaths:
    """Under which chain path each handle of a volume was opened. Renames are followed."""

    __slots__ = ("_by_path", "_paths", "path_of")

    def __init__(self, handles: "Iterable[tuple[VfsHandle, str]]") -> None:
        self._paths: dict[VfsHandle, str] = {}
        self._by_path: dict[str, set[VfsHandle]] = {}
        self.path_of = self._paths.get
        for handle, path in handles:
            self.note(handle, path)

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

    def touched(self, name: str, arguments: Sequence[Any]) -> list[str]:
        """The chain paths of what the operation `name` is done to; none where its handles are not known."""
        paths = []
        for at, named in _TOUCHED[name]:
            base = self._paths.get(arguments[at])
            if base is not None:
                paths.append(join(base, arguments[at + 1]) if named else base)
        return paths


def _places(operation: Operation) -> tuple[_Place, ...]:
    parameters = list(inspect.signature(getattr(Operations, operation.name)).parameters.values())[2:]
    kinds = [parameter.annotation for parameter in parameters]
    named = operation.target is Target.PATH
    return tuple((at, named and kinds[at + 1 : at + 2] == [str]) for at, kind in enumerate(kinds) if kind is VfsHandle)


_TOUCHED: Final = {name: _places(operation) for name, operation in OPERATIONS.items() if operation.mutates}

OF_ONE_FILE: Final = frozenset(
    name for name, places in _TOUCHED.items() if places == ((0, False),) and OPERATIONS[name].target is Target.HANDLE
) - {"open_stream"}
"""Operations that change what one open file holds, and no name."""


def claims_of(name: str, paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[Claim]:
    """What the operation `name` has caused when it has succeeded, and ntfsa reports itself."""
    claim = _CLAIMS.get(name)
    return claim(paths, arguments) if claim is not None and paths else NOTHING


def _of_open(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[Claim]:
    # Whether one that is not exclusive has made the file nobody can say, so nobody but the source reports it.
    return frozenset({(ChangeKind.ADDED, paths[0])}) if arguments[2].exclusive else NOTHING


def _of_making(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[Claim]:
    return frozenset({(ChangeKind.ADDED, paths[-1])})


def _of_removing(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[Claim]:
    return frozenset({(ChangeKind.REMOVED, paths[0])})


def _of_renaming(paths: Sequence[str], arguments: Sequence[Any]) -> frozenset[Claim]:
    return frozenset({(ChangeKind.REMOVED, paths[0]), (ChangeKind.ADDED, paths[-1])})


_CLAIMS: Final[dict[str, Callable[[Sequence[str], Sequence[Any]], frozenset[Claim]]]] = {
    "open": _of_open,
    "mkdir": _of_making,
    "symlink": _of_making,
    "link": _of_making,
    "unlink": _of_removing,
    "rmdir": _of_removing,
    "rename": _of_renaming,
}
