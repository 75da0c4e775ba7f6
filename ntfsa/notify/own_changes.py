"""Which of the changes that a source tells of a share's own operations have caused. No I/O, no waiting."""

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lamina.ntfsa.naming.lookup import join
from lamina.vfs_modules.changes import Change, ChangeKind
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import OPERATIONS, Operation, Operations, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

Part = tuple[ChangeKind, str]
"""A name, by its path, and what happened to it. A rename has two."""

_Place = tuple[int, bool]
"""Where in the arguments of an operation a handle stands, and whether the name after it is meant."""

CONTENT: Final = frozenset({ChangeKind.DATA, ChangeKind.ATTRIBUTES})
"""Changes that are about no name."""


def parts_of(base: str, change: Change) -> set[Part]:
    """What a change says of names, by their paths from the root where it has them from the directory `base`."""
    path = join(base, change.path)
    if change.kind is ChangeKind.RENAMED:
        return {(ChangeKind.REMOVED, path), (ChangeKind.ADDED, join(base, change.target))}
    return {(change.kind, path)}


class SortedOut(NamedTuple):
    """What others did before an operation and after it; `certain`: nothing that they did came in the midst of it."""

    before: list[Change]
    after: list[Change]
    certain: bool


def sort_out(base: str, held: Sequence[Change], caused: Sequence[Change]) -> SortedOut:
    """What of `held`, told of an operation's names while it was done, is not its own doing, which is `caused`.

    Both are in their order. A source tells of each of `caused` once. Of changes that are alike the last one is its own:
    whichever of them it is, what is told says the same. Changes of what a new or removed file holds are left out. A
    source that was silent of the operation leaves open what came first.
    """
    parts = [parts_of(base, change) for change in held]
    own = _own(parts, caused)
    first, last = (min(own), max(own)) if own else (0, -1)
    gone_or_new = {
        path for change in caused if change.kind is not ChangeKind.RENAMED for _, path in parts_of("", change)
    }
    before: list[Change] = []
    after: list[Change] = []
    certain = bool(own) or not caused
    for at, change in enumerate(held):
        if at in own:
            after += _left_of(change, parts[at] - own[at], base)
        elif change.kind not in CONTENT:
            certain = certain and not first < at < last
            (before if at < first else after).append(change)
        elif join(base, change.path) not in gone_or_new:
            (before if at < first else after).append(change)
    return SortedOut(before, after, certain or not any(change.kind not in CONTENT for change in before + after))


def removed_by(base: str, changes: Sequence[Change]) -> set[str]:
    """The names that are gone after these changes."""
    gone: set[str] = set()
    for change in changes:
        parts = parts_of(base, change)
        gone -= {path for kind, path in parts if kind is ChangeKind.ADDED}
        gone |= {path for kind, path in parts if kind is ChangeKind.REMOVED}
    return gone


def comes_first(base: str, changes: Sequence[Change], path: str) -> bool:
    """Whether the first that these changes do to a name is that it comes: what had it before was replaced."""
    for change in changes:
        parts = parts_of(base, change)
        if (ChangeKind.REMOVED, path) in parts:
            return False
        if (ChangeKind.ADDED, path) in parts:
            return True
    return False


def _own(parts: Sequence[set[Part]], caused: Sequence[Change]) -> dict[int, set[Part]]:
    """Which of `parts` are the operation's, with what it has caused of each."""
    own: dict[int, set[Part]] = {}
    for change in reversed(caused):
        claims = parts_of("", change)
        end = min(own, default=len(parts))
        whole = next((at for at in range(end - 1, -1, -1) if claims <= parts[at]), None)
        if whole is not None:
            own[whole] = claims
            continue
        # A source of one directory sees half of a rename, another both halves one by one.
        for claim in claims:
            half = next((at for at in range(end - 1, -1, -1) if claim in parts[at]), None)
            if half is not None:
                own.setdefault(half, set()).add(claim)
    return own


def _left_of(change: Change, left: set[Part], base: str) -> "Iterator[Change]":
    # Where a module makes a removal a rename, the other name is news.
    for kind, path in left:
        at = change.path if path == join(base, change.path) else change.target
        yield Change(kind, at, change.is_directory)


class HandlePaths:
    """Under which chain path each handle of a volume was opened. Renames are followed."""

    __slots__ = ("_by_path", "_paths", "path_of", "streams")

    def __init__(self, handles: "Iterable[tuple[VfsHandle, str]]") -> None:
        self._paths: dict[VfsHandle, str] = {}
        self._by_path: dict[str, set[VfsHandle]] = {}
        self.path_of = self._paths.get
        self.streams: set[VfsHandle] = set()
        for handle, path in handles:
            self.note(handle, path)

    def note(self, handle: VfsHandle, path: str, stream: bool = False) -> None:
        """A handle was opened; `stream`: of a stream of the file."""
        if stream:
            self.streams.add(handle)
        self._paths[handle] = path
        self._by_path.setdefault(path, set()).add(handle)

    def forget(self, handle: VfsHandle) -> None:
        """A handle is closed."""
        self.streams.discard(handle)
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

OF_NAMES: Final = frozenset({"open", "mkdir", "rmdir", "unlink", "link", "symlink", "rename"})
"""Operations that change names."""

OF_ONE_FILE: Final = frozenset(
    name for name, places in _TOUCHED.items() if places == ((0, False),) and OPERATIONS[name].target is Target.HANDLE
) - {"open_stream"}
"""Operations that change what one open file holds, and no name."""
