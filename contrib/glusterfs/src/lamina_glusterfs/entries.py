"""What is asked of many entries of a folder at once, in one turn of a thread.

The reading of a folder brings the library's object of each entry along. They are kept for a moment, for who has listed
the folder asks next for the extended attributes of what is in it: so no entry is looked up once more.
"""

import errno
import threading
import time
from functools import lru_cache
from typing import Any, Final

from lamina.vfs_modules.names import decode_name
from lamina.vfs_modules.operations import EntryXattrs

from lamina_glusterfs.volume import Volume

_SECONDS: Final = 5.0
"""For how long an object counts as what has a name in a folder."""

_ROOM: Final = 4096
_HIDDEN: Final = (b"trusted.", b"glusterfs.")
_OF_ONE: Final = frozenset(
    {errno.ENOENT, errno.ESTALE, errno.EACCES, errno.EPERM, errno.ENODATA, errno.ENOTSUP, errno.ENOTDIR, errno.ELOOP}
    | {errno.ENAMETOOLONG, errno.EINVAL, errno.ERANGE}
)
"""Errors that are one entry's own affair. Others say something of the volume: they are raised, and it is waited for."""


class Listed:
    """The objects of the entries that were read last from an open folder, each for whoever takes it first."""

    __slots__ = ("_closed", "_lock", "_objects", "_read", "_volume")

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self._objects: dict[bytes, Any] = {}
        self._read = 0.0
        self._closed = False

    def keep(self, objects: dict[bytes, Any]) -> None:
        """These have just been read, instead of those before them."""
        with self._lock:
            if not self._closed:
                self._objects, objects = objects, self._objects
                self._read = time.monotonic()
        self._close(objects)

    def take(self, name: bytes) -> Any:
        """The object of an entry, which is the caller's to close; None where it is not known, or not any more."""
        with self._lock:
            return self._objects.pop(name, None) if time.monotonic() - self._read < _SECONDS else None

    def close(self) -> None:
        """The folder is closed."""
        with self._lock:
            self._closed = True
            objects, self._objects = self._objects, {}
        self._close(objects)

    def _close(self, objects: dict[bytes, Any]) -> None:
        for one in objects.values():
            self._volume.api.lib.glfs_h_close(one)


class EntryReader:
    """Reads the extended attributes of entries of one folder; `wanted`: names, or why there is no such attribute."""

    def __init__(self, volume: Volume, folder: Any, listed: Listed | None, wanted: tuple[bytes | int, ...]) -> None:
        self._volume, self._folder, self._listed, self._wanted = volume, folder, listed, wanted
        self._room = volume.api.ffi.new(f"char[{_ROOM}]")
        self._status = volume.api.ffi.new("struct stat *")

    def of_entry(self, entry: bytes) -> EntryXattrs:
        """What an entry has. Raises OSError for what is wrong with more than this one."""
        object_ = self._listed.take(entry) if self._listed is not None else None
        try:
            if object_ is None:
                object_ = self._found(entry)
            return self._of_object(object_)
        except OSError as error:
            return EntryXattrs((), (_own(error),) * len(self._wanted))
        finally:
            if object_ is not None:
                self._volume.api.lib.glfs_h_close(object_)

    def _found(self, entry: bytes) -> Any:
        api = self._volume.api
        found = api.lib.glfs_h_lookupat(self._volume.fs, self._folder, entry, self._status, 0)
        if found == api.ffi.NULL:
            raise self._volume.failure()
        return found

    def _of_object(self, object_: Any) -> EntryXattrs:
        told, stored = _told(self._read(object_, self._volume.api.ffi.NULL), self._wanted)
        return EntryXattrs(told, tuple([self._value(object_, name) for name in stored]))

    def _value(self, object_: Any, name: bytes | int) -> bytes | int:
        if isinstance(name, int):
            return name
        try:
            return self._read(object_, name)
        except OSError as error:
            return _own(error)

    def _read(self, object_: Any, name: Any) -> bytes:
        api = self._volume.api
        length = api.lib.glfs_h_getxattrs(self._volume.fs, object_, name, self._room, _ROOM)
        if length >= 0:
            return bytes(api.ffi.buffer(self._room, length))
        error = self._volume.failure()
        if error.errno != errno.ERANGE:
            raise error
        return self._volume.value(object_, name)


@lru_cache(maxsize=256)
def _told(listed: bytes, wanted: tuple[bytes | int, ...]) -> tuple[tuple[str, ...], tuple[bytes | int, ...]]:
    """The names that are told of in a list of the library, and those wanted that are in it, or else why not.

    Most files of a folder have the same.
    """
    names = [name for name in listed.split(b"\0") if name and not name.startswith(_HIDDEN)]
    stored = tuple(name if isinstance(name, int) or name in names else errno.ENODATA for name in wanted)
    return tuple(map(decode_name, names)), stored


def _own(error: OSError) -> int:
    if error.errno not in _OF_ONE:
        raise error
    # What has gone since it was listed is not there.
    return errno.ENOENT if error.errno == errno.ESTALE else error.errno
