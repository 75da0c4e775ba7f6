"""How a path leads to a file within the share, one name after the other: what a brick is asked for each, as the user.

The library could follow a whole path, but would ask nobody about folders that it knows already, and follow symbolic
links to wherever they lead. Everything here runs on a thread of the volume.
"""

import errno
import os
import stat
from typing import Any, Final, NamedTuple, NoReturn

from lamina.vfs_modules.operations import FileStat

from lamina_glusterfs.binding import file_stat
from lamina_glusterfs.volume import Volume

LONGEST_NAME: Final = 255
LONGEST_LINK: Final = 4096
_MAX_LINKS: Final = 40
_MAX_NAMES: Final = 2048


def refuse(number: int, path: bytes = b"") -> NoReturn:
    """Raise the OSError of an error number."""
    raise OSError(number, os.strerror(number), path)


class Found(NamedTuple):
    """Where a path leads: the folder and the name of the last step, and what is there, if anything.

    `object` is None where nothing is. Where `name` is empty the folder itself was meant.
    """

    parent: Any
    name: bytes
    object: Any
    stat: FileStat | None


class Walk:
    """One walk, from the object `start` beneath the share's root. What it opens on its way it closes at its end.

    `follow`: a last name that is a symbolic link is followed. `links`: whether any may be; ELOOP where not.
    """

    def __init__(self, volume: Volume, root: Any, start: Any, path: bytes, links: bool = True) -> None:
        self._volume = volume
        self._root = root
        self._path = path
        self._links = _MAX_LINKS if links else 0
        self._todo = [part for part in reversed(path.split(b"/")) if part not in {b"", b"."}]
        self._stack = [start]
        self._mine: list[Any] = []
        self._stat = volume.api.ffi.new("struct stat *")
        if len(self._todo) > _MAX_NAMES:
            refuse(errno.ENAMETOOLONG, path[:LONGEST_NAME])
        if b".." in self._todo:
            refuse(errno.EXDEV, path)

    def __enter__(self) -> "Walk":
        return self

    def __exit__(self, *_: object) -> None:
        for object_ in self._mine:
            self._volume.api.lib.glfs_h_close(object_)

    def parent(self) -> Found:
        """The folder of the last name, which is not looked at."""
        if not self._todo:
            refuse(errno.EINVAL, self._path)
        last = self._todo.pop(0)
        while self._todo:
            self._step(self._todo.pop())
        if last == b"..":
            refuse(errno.EXDEV, self._path)
        return Found(self._stack[-1], _checked(last, self._path), None, None)

    def end(self, follow: bool) -> Found:
        """What the path leads to. Its object is the walk's: `keep` it to have it afterwards."""
        while self._todo:
            name = self._todo.pop()
            if self._todo or name == b"..":
                self._step(name)
                continue
            object_, found = self._look(name)
            if found is not None and follow and stat.S_ISLNK(found.mode):
                self._expand(object_)
                continue
            return Found(self._stack[-1], name, object_, found)
        object_ = self._stack[-1]
        if self._volume.api.lib.glfs_h_stat(self._volume.fs, object_, self._stat):
            raise self._volume.failure(self._path)
        return Found(object_, b"", object_, self._read())

    def keep(self, object_: Any) -> Any:
        """An object that outlives the walk."""
        for place, mine in enumerate(self._mine):
            if mine is object_:
                return self._mine.pop(place)
        copy = self._volume.api.lib.glfs_object_copy(object_)
        if copy == self._volume.api.ffi.NULL:
            raise self._volume.failure(self._path)
        return copy

    def _read(self) -> FileStat:
        api = self._volume.api
        return file_stat(api.form, api.ffi.buffer(self._stat))

    def _look(self, name: bytes) -> tuple[Any, FileStat | None]:
        api = self._volume.api
        _checked(name, self._path)
        object_ = api.lib.glfs_h_lookupat(self._volume.fs, self._stack[-1], name, self._stat, 0)
        if object_ == api.ffi.NULL:
            error = self._volume.failure(self._path)
            # A folder that is gone has nothing in it.
            if error.errno in {errno.ENOENT, errno.ESTALE}:
                return None, None
            raise error
        self._mine.append(object_)
        return object_, self._read()

    def _step(self, name: bytes) -> None:
        if name == b"..":
            self._back()
            return
        object_, found = self._look(name)
        if found is None:
            refuse(errno.ENOENT, self._path)
        if stat.S_ISLNK(found.mode):
            self._expand(object_)
        elif stat.S_ISDIR(found.mode):
            self._stack.append(object_)
        else:
            refuse(errno.ENOTDIR, self._path)

    def _back(self) -> None:
        """What ".." in a link means: where the walk has come from, or else what is above, but never above the root."""
        if len(self._stack) > 1:
            self._stack.pop()
            return
        api = self._volume.api
        if self._volume.gfid(self._stack[0]) == self._volume.gfid(self._root):
            refuse(errno.EXDEV, self._path)
        above = api.lib.glfs_h_lookupat(self._volume.fs, self._stack[0], b"..", self._stat, 0)
        if above == api.ffi.NULL:
            raise self._volume.failure(self._path)
        self._mine.append(above)
        self._stack[0] = above

    def _expand(self, link: Any) -> None:
        self._links -= 1
        if self._links < 0:
            refuse(errno.ELOOP, self._path)
        target = read_link(self._volume, link)
        if target.startswith(b"/"):
            refuse(errno.EXDEV, self._path)
        self._todo += [part for part in reversed(target.split(b"/")) if part not in {b"", b"."}]
        if len(self._todo) > _MAX_NAMES:
            refuse(errno.ENAMETOOLONG, self._path)


def _checked(name: bytes, path: bytes) -> bytes:
    if len(name) > LONGEST_NAME:
        refuse(errno.ENAMETOOLONG, path[: 2 * LONGEST_NAME])
    return name


def read_link(volume: Volume, object_: Any) -> bytes:
    """What a symbolic link holds; EINVAL for anything else."""
    api = volume.api
    room = api.ffi.new(f"char[{LONGEST_LINK}]")
    length = api.lib.glfs_h_readlink(volume.fs, object_, room, LONGEST_LINK)
    if length < 0:
        raise volume.failure()
    return bytes(api.ffi.buffer(room, length))
