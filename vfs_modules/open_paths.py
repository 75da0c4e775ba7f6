"""The paths of a module's open handles, kept true when they, or folders above them, are renamed, in whatever process.

A handle does not say what its file is called, which a module must know that finds a file beside another by its name. It
tells `OpenPaths` of every handle that it wants to know this of, and of all that changes names.
"""

import itertools
import os
from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, Protocol

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Operations
from lamina.vfs_modules.processes import Place, place
from lamina.vfs_modules.services.module_services import ModuleServices
from lamina.vfs_modules.services.shared import SharedValues, Values
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

Open = Callable[[], VfsHandle]
"""Opens a file."""


class OpenPath(Protocol):
    """The path of one open handle. `kept`: whatever the module keeps with it."""

    kept: Any

    @property
    def path(self) -> str | None:
        """From the share's root; None once it has no name any more."""
        ...


class OpenPaths(Protocol):
    """The paths of all handles of a module's that it has told of."""

    def add(self, path: str) -> OpenPath:
        """Of one more handle of what `path` names. Before the file is opened: a rename may come in between."""
        ...

    def remove(self, open_path: OpenPath) -> None:
        """The handle is closed."""
        ...

    def gone(self, path: str) -> None:
        """The name was removed."""
        ...

    def moved(self, source: str, target: str, is_directory: bool) -> None:
        """`source` is called `target` now, and everything beneath it lies beneath that."""
        ...


def open_paths(module: ModuleServices) -> OpenPaths:
    """For a module, from its `connect` on."""
    where = place()
    return LocalOpenPaths() if where is None else SharedOpenPaths(module.shared, where)


def open_at(
    paths: OpenPaths, below: Operations, root: VfsHandle, token: ImpersonationToken, path: str, open_: Open
) -> tuple[VfsHandle, OpenPath]:
    """Open what `path` names, and know its path, whatever is renamed meanwhile. `root`: the share's, in `below`."""
    found = paths.add(path)
    try:
        handle = open_()
    except BaseException:
        paths.remove(found)
        raise
    now = found.path
    if now == path or (now is not None and _is_called(below, root, token, handle, now)):
        return handle, found
    # Something else of that name was renamed, just before this was opened.
    paths.remove(found)
    return handle, paths.add(path)


def _is_called(below: Operations, root: VfsHandle, token: ImpersonationToken, handle: VfsHandle, path: str) -> bool:
    try:
        mine, there = below.fstat(token, handle), below.stat(SERVER_TOKEN, root, path)
    except OSError:
        return False
    return (mine.dev, mine.ino) == (there.dev, there.ino)


class _LocalPath:
    __slots__ = ("kept", "path")

    def __init__(self, path: str) -> None:
        self.path: str | None = path
        self.kept: Any = None


class LocalOpenPaths:
    """The paths, where there is one process."""

    def __init__(self) -> None:
        self._by_path: dict[str, set[_LocalPath]] = {}

    def add(self, path: str) -> OpenPath:
        """Of one more handle."""
        added = _LocalPath(path)
        self._by_path.setdefault(path, set()).add(added)
        return added

    def remove(self, open_path: OpenPath) -> None:
        """The handle is closed."""
        assert isinstance(open_path, _LocalPath)
        if open_path.path is not None:
            self._discard(open_path.path, open_path)

    def _discard(self, path: str, open_path: _LocalPath) -> None:
        paths = self._by_path.get(path)
        if paths is not None:
            paths.discard(open_path)
            if not paths:
                del self._by_path[path]

    def gone(self, path: str) -> None:
        """The name was removed."""
        for open_path in self._by_path.pop(path, ()):
            open_path.path = None

    def moved(self, source: str, target: str, is_directory: bool) -> None:
        """The name was changed."""
        if source == target:
            return
        self.gone(target)
        self._rename(source, target)
        if is_directory:
            # Looks at every open file: renaming folders is rare.
            for path in [path for path in self._by_path if path.startswith(source + "/")]:
                self._rename(path, target + path[len(source) :])

    def _rename(self, source: str, target: str) -> None:
        paths = self._by_path.pop(source, None)
        if paths:
            for open_path in paths:
                open_path.path = target
            self._by_path.setdefault(target, set()).update(paths)

    def __len__(self) -> int:
        return sum(map(len, self._by_path.values()))


_BY_ID, _BY_PATH = b"I", b"P"
_ID: Final = Struct(">BIQ")
_HASH: Final = 16
_NAMED, _NAMELESS = b"\1", b"\0"
_counter = itertools.count().__next__


class _SharedPath:
    """One row, which any process may change."""

    __slots__ = ("_values", "id", "kept")

    def __init__(self, values: SharedValues, id_: bytes) -> None:
        self._values = values
        self.id = id_
        self.kept: Any = None

    @property
    def path(self) -> str | None:
        return _path_in(self._values.get(_BY_ID + self.id))


class SharedOpenPaths:
    """The paths, where several processes have files open and rename them: rows by handle, and by the path's hash.

    A handle's number begins with its process, so that the next one in its place forgets what it left behind.
    """

    def __init__(self, values: SharedValues, where: Place) -> None:
        self._values = values
        self._mine = (where.number, os.getpid())
        self._forget_dead()

    def _forget_dead(self) -> None:
        number, process = self._mine
        with self._values.step() as step:
            for key, value in step.items(_BY_ID + bytes((number,))):
                if _ID.unpack(key[len(_BY_ID) :])[1] != process:
                    _delete(step, key[len(_BY_ID) :], value)

    def add(self, path: str) -> OpenPath:
        """Of one more handle."""
        id_ = _ID.pack(*self._mine, _counter())
        with self._values.step() as step:
            _put(step, id_, path)
        return _SharedPath(self._values, id_)

    def remove(self, open_path: OpenPath) -> None:
        """The handle is closed."""
        assert isinstance(open_path, _SharedPath)
        with self._values.step() as step:
            value = step.get(_BY_ID + open_path.id)
            if value is not None:
                _delete(step, open_path.id, value)

    def gone(self, path: str) -> None:
        """The name was removed."""
        with self._values.step() as step:
            _gone(step, path)

    def moved(self, source: str, target: str, is_directory: bool) -> None:
        """The name was changed."""
        if source == target:
            return
        with self._values.step() as step:
            _gone(step, target)
            for id_ in _ids_of(step, source):
                _move(step, id_, source, target)
            if is_directory:
                # As above: looks at every open file.
                for key, value in step.items(_BY_ID):
                    path = _path_in(value)
                    if path is not None and path.startswith(source + "/"):
                        _move(step, key[len(_BY_ID) :], path, target + path[len(source) :])

    def __len__(self) -> int:
        with self._values.step() as step:
            return len(step.items(_BY_PATH))


def _path_in(value: bytes | None) -> str | None:
    return value[1:].decode("utf-8", "surrogatepass") if value is not None and value[:1] == _NAMED else None


def _key_of(path: str) -> bytes:
    return _BY_PATH + blake2b(path.encode("utf-8", "surrogatepass"), digest_size=_HASH).digest()


def _ids_of(step: Values, path: str) -> list[bytes]:
    prefix = _key_of(path)
    return [key[len(prefix) :] for key, _ in step.items(prefix)]


def _put(step: Values, id_: bytes, path: str) -> None:
    step.put(_BY_ID + id_, _NAMED + path.encode("utf-8", "surrogatepass"))
    step.put(_key_of(path) + id_, b"")


def _delete(step: Values, id_: bytes, value: bytes) -> None:
    path = _path_in(value)
    if path is not None:
        step.delete(_key_of(path) + id_)
    step.delete(_BY_ID + id_)


def _gone(step: Values, path: str) -> None:
    prefix = _key_of(path)
    for key, _ in step.items(prefix):
        step.put(_BY_ID + key[len(prefix) :], _NAMELESS)
        step.delete(key)


def _move(step: Values, id_: bytes, source: str, target: str) -> None:
    step.delete(_key_of(source) + id_)
    _put(step, id_, target)
