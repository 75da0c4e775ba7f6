"""A foreign store behind an interface of its own: calls on worker threads, instances of their own, errors as OSError.

No instance is used by two threads at a time, as few stores promise to bear that. Whatever a store keeps of listings is
dropped before it is asked: what is remembered, and for how long, is decided in one place (`tree`). Nothing here
expands patterns, as many of fsspec's calls would: a file may be called "a[1].txt".
"""

import errno
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.places import Places
from lamina.vfs_modules.stock.foreign.entries import Entry, directory_entry, entry_of, from_store, to_store
from lamina.vfs_modules.stock.foreign.faults import as_os_error, is_lost_connection
from lamina.vfs_modules.token import SERVER_TOKEN

_T = TypeVar("_T")

_CHUNK: Final = 4 << 20
_AT_ONCE: Final = 8 << 20
_RENAMING: Final = frozenset({"file", "local", "ftp", "sftp", "ssh", "smb", "hdfs", "arrow_hdfs", "webhdfs", "webdav"})
"""Protocols whose `mv` is the store's own renaming; that of the others is a copy, and takes names for patterns."""

_NO_COPY: Final = frozenset({errno.ENOTSUP})


def _import_fsspec() -> Any:
    try:
        return importlib.import_module("fsspec")
    except ImportError as error:
        raise OSError(errno.ENOTSUP, "the package fsspec is missing: pip install 'lamina[fsspec]'") from error


class Store:
    """The store of one URL. Paths are relative to it, "" is its root. Every method may wait."""

    def __init__(self, url: str, protocol: str, options: Mapping[str, Any], parallel: int) -> None:
        self._url = url
        self._options = dict(options)
        self._renames = protocol in _RENAMING
        self._places = Places(parallel)
        self._idle: list[Any] = []
        self._root = ""

    # Calling.

    def call(self, path: str, function: Callable[[Any, str], _T], again: bool = False) -> _T:
        """`function(file_system, full_path)` on a worker thread; `again`: once more where a connection was lost."""
        with self._places:
            result: _T = offload(SERVER_TOKEN, self._call, path, function, again)
            return result

    def _call(self, path: str, function: Callable[[Any, str], _T], again: bool) -> _T:
        try:
            file_system = self._idle.pop()
        except IndexError:
            file_system = self._connect()
        try:
            result = function(file_system, self._full(path))
        except Exception as error:
            if is_lost_connection(error):
                if again:
                    return self._call(path, function, bool(self._idle))
            else:
                self._idle.append(file_system)
            raise as_os_error(error, path) from error
        self._idle.append(file_system)
        return result

    def _connect(self) -> Any:
        fsspec = _import_fsspec()
        try:
            file_system, root = fsspec.url_to_fs(self._url, skip_instance_cache=True, **self._options)
        except Exception as error:
            raise as_os_error(error, self._url) from error
        self._root = root
        return file_system

    def _full(self, path: str) -> str:
        if not path:
            return self._root or "/"
        return f"{self._root.rstrip('/')}/{to_store(path)}" if self._root else to_store(path)

    def close(self) -> None:
        """Give the connections back."""
        idle, self._idle = self._idle, []
        offload(SERVER_TOKEN, _close_all, idle)

    # Looking.

    def look(self, path: str) -> Entry:
        """What is known of a file."""

        def look(file_system: Any, full: str) -> Entry:
            file_system.invalidate_cache()
            return entry_of(file_system.info(full))

        return self.call(path, look, again=True)

    def list(self, path: str) -> dict[str, Entry]:
        """The entries of a directory by their names; a name that is a key and a folder is the folder."""

        def look(file_system: Any, full: str) -> dict[str, Entry]:
            file_system.invalidate_cache()
            found: dict[str, Entry] = {}
            own = full.strip("/")
            for info in file_system.ls(full, detail=True):
                whole = str(info["name"]).strip("/")
                entry = entry_of(info)
                name = _name_of(whole)
                if not name or whole == own:
                    continue  # the directory itself, as stores of keys tell it
                if name not in found or entry.is_directory:
                    found[name] = entry
            return found

        return self.call(path, look, again=True)

    def read(self, path: str, start: int, end: int) -> bytes:
        """A part of a file; shorter where it ends."""
        return self.call(path, lambda fs, full: bytes(fs.cat_file(full, start=start, end=end)), again=True)

    def fetch(self, path: str, size: int, fd: int) -> int:
        """Copy a file, at most `size` bytes of it, into a descriptor; the bytes there were."""

        def fetch(file_system: Any, full: str) -> int:
            offset = 0
            with file_system.open(full, "rb") as source:
                while offset < size and (data := source.read(min(_CHUNK, size - offset))):
                    offset += os.pwrite(fd, data, offset)
            return offset

        return self.call(path, fetch, again=True)

    # Changing.

    def write(self, path: str, size: int, fd: int) -> None:
        """Let a file be what a descriptor holds."""

        def write(file_system: Any, full: str) -> None:
            if size <= _AT_ONCE:
                file_system.pipe_file(full, b"".join(_pieces(fd, size)))
                return
            with file_system.open(full, "wb") as target:
                for piece in _pieces(fd, size):
                    target.write(piece)

        self.call(path, write)

    def make(self, path: str) -> None:
        """Make an empty file."""
        self.call(path, lambda fs, full: fs.pipe_file(full, b""))

    def make_directory(self, path: str) -> None:
        """Make a directory whose parent is there."""
        self.call(path, lambda fs, full: fs.mkdir(full, create_parents=False))

    def make_root(self) -> None:
        """Make the root and what it is in."""
        self.call("", lambda fs, full: fs.makedirs(full, exist_ok=True))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.call(path, lambda fs, full: fs.rm_file(full))

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        self.call(path, lambda fs, full: fs.rmdir(full))

    def rename(self, source: str, target: str, is_directory: bool) -> None:
        """Give a file or a directory another name that is free. Where the store cannot, it is copied and removed."""
        if self._renames:
            self.call(source, lambda fs, full: fs.mv(full, self._full(target)))
        elif is_directory:
            self._move_tree(source, target)
        else:
            self._copy(source, target)
            self.remove(source)

    def _copy(self, source: str, target: str) -> None:
        try:
            self.call(source, lambda fs, full: fs.cp_file(full, self._full(target)))
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
            self.call(source, lambda fs, full: _copy_through(fs, full, self._full(target)))

    def _move_tree(self, source: str, target: str) -> None:
        """Copy all, and only then remove: whatever happens in between, all of it is somewhere."""
        files: list[str] = []
        folders = [""]
        for folder in folders:
            for name, entry in self.list(source + folder).items():
                (folders if entry.is_directory else files).append(f"{folder}/{name}")
        for folder in folders:
            with suppress(FileExistsError):
                self.make_directory(target + folder)
        for file in files:
            self._copy(source + file, target + file)
        for file in files:
            self.remove(source + file)
        for folder in reversed(folders):
            with suppress(FileNotFoundError):
                self.remove_directory(source + folder)

    def exists_as_directory(self, path: str) -> bool:
        """Whether the store knows a directory of this path."""
        try:
            return self.look(path).is_directory
        except FileNotFoundError:
            return False

    def check_root(self) -> Entry:
        """What is known of the root. Raises OSError: FileNotFoundError where it is not there."""
        entry = self.look("")
        return directory_entry()._replace(mtime_ns=entry.mtime_ns) if entry.is_directory else entry


def _name_of(whole: str) -> str:
    try:
        name = from_store(whole.rpartition("/")[2])
    except UnicodeError:
        return ""
    return "" if name in {".", ".."} or "\0" in name else name


def _pieces(fd: int, size: int) -> Iterator[bytes]:
    offset = 0
    while offset < size:
        piece = bytearray(min(_CHUNK, size - offset))
        count = os.preadv(fd, [piece], offset)
        if not count:
            return
        yield bytes(memoryview(piece)[:count])
        offset += count


def _copy_through(file_system: Any, source: str, target: str) -> None:
    with file_system.open(source, "rb") as origin, file_system.open(target, "wb") as copy:
        while data := origin.read(_CHUNK):
            copy.write(data)


def _close_all(file_systems: list[Any]) -> None:
    for file_system in file_systems:
        with suppress(Exception):
            getattr(file_system, "close", lambda: None)()
