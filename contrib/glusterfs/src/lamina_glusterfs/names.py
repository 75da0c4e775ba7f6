"""What the backend does with names in a folder."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.token import ImpersonationToken

from lamina_glusterfs.opened import Opened
from lamina_glusterfs.opening import GlusterOpening
from lamina_glusterfs.walk import LONGEST_LINK, Found, read_link, refuse

# What a volume of several bricks says of a file that somebody else takes away in the middle.
_GONE = frozenset({errno.ESTALE, errno.ENODATA})
_NO_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV})


class GlusterNames(GlusterOpening):
    """The part of the backend that handles names."""

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names without opening it."""
        return self._call(token, self._stat, directory.private, encode_name(path), follow)

    def _stat(self, start: Opened, path: bytes, follow: bool) -> FileStat:
        with start.in_use(), self._walk(start, path) as walk:
            return walk.end(follow).stat or refuse(errno.ENOENT, path)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        self._call(token, self._mkdir, directory.private, encode_name(path), mode)

    def _mkdir(self, start: Opened, path: bytes, mode: int) -> None:
        with start.in_use(), self._walk(start, path) as walk:
            parent = walk.parent()
            self._make_folder(parent, path, mode)

    def _make_folder(self, at: Found, path: bytes, mode: int) -> None:
        api = self._volume.api
        status = api.ffi.new("struct stat *")
        with self._volume.watching.own(at.parent, of_folders=True) as done:
            self._keep_nothing(api.lib.glfs_h_mkdir(self._volume.fs, at.parent, at.name, mode, status), path)
            done.append((at.parent, at.name, True))

    def _keep_nothing(self, object_: Any, path: bytes) -> None:
        if object_ == self._volume.api.ffi.NULL:
            raise self._volume.failure(path)
        self._volume.api.lib.glfs_h_close(object_)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name that is not a directory's."""
        self._call(token, self._remove, directory.private, encode_name(path), False)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        self._call(token, self._remove, directory.private, encode_name(path), True)

    def _remove(self, start: Opened, path: bytes, is_directory: bool) -> None:
        # The library removes whatever there is, so it is looked at first.
        with start.in_use(), self._walk(start, path) as walk:
            found = walk.end(False)
            if found.stat is None:
                refuse(errno.ENOENT, path)
            if not found.name:
                refuse(errno.EBUSY, path)
            if stat.S_ISDIR(found.stat.mode) is not is_directory:
                refuse(errno.ENOTDIR if is_directory else errno.EISDIR, path)
            self._volume.pins.pin(found.stat)
            with self._volume.watching.own(found.parent) as done:
                if self._volume.api.lib.glfs_h_unlink(self._volume.fs, found.parent, found.name):
                    raise self._volume.failure(path)
                done.append((found.parent, found.name, False))

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename, and with `replace` put it in the place of what is there."""
        places = source_directory.private, encode_name(source), target_directory.private, encode_name(target)
        self._call(token, self._rename, *places, replace)

    def _rename(self, from_: Opened, source: bytes, to: Opened, target: bytes, replace: bool) -> None:
        with (
            from_.in_use(),
            to.in_use(),
            self._walk(from_, source) as old_walk,
            self._walk(to, target) as new_walk,
        ):
            old, new = old_walk.end(False), new_walk.end(False)
            if old.stat is None:
                refuse(errno.ENOENT, source)
            if not old.name or not new.name:
                refuse(errno.EBUSY, source)
            if new.stat is None and not replace:
                # In turns, as several bricks do not make one of two at a time the first.
                with self._watched(old, new), self._volume.renaming:
                    self._rename_aside(old, new, old.stat, target)
                return
            if new.stat is not None:
                if not replace:
                    refuse(errno.EEXIST, target)
                if (new.stat.dev, new.stat.ino) == (old.stat.dev, old.stat.ino):
                    return
                _refuse_replacing(old.stat, new.stat, target)
                self._volume.pins.pin(new.stat)
            with self._watched(old, new):
                self._move(old, new, target)

    @contextmanager
    def _watched(self, old: Found, new: Found) -> Iterator[None]:
        with self._volume.watching.own(old.parent, new.parent, of_folders=True) as done:
            yield
            done += [(old.parent, old.name, False), (new.parent, new.name, True)]

    def _move(self, old: Found, new: Found, path: bytes) -> None:
        if self._volume.api.lib.glfs_h_rename(self._volume.fs, old.parent, old.name, new.parent, new.name):
            raise self._failure(path)

    def _is_there(self, at: Found) -> bool:
        api = self._volume.api
        found = api.lib.glfs_h_lookupat(self._volume.fs, at.parent, at.name, api.ffi.new("struct stat *"), 0)
        if found == api.ffi.NULL:
            return False
        api.lib.glfs_h_close(found)
        return True

    def _failure(self, path: bytes) -> OSError:
        """What the last call has failed with, where a name was to be there that somebody takes away meanwhile."""
        error = self._volume.failure(path)
        return OSError(errno.ENOENT, os.strerror(errno.ENOENT), path) if error.errno in _GONE else error

    def _rename_aside(self, old: Found, new: Found, status: FileStat, path: bytes) -> None:
        """Rename where nothing is to be replaced, also if something is there by now: the library's rename replaces.

        A further name of a file is refused where the name is taken, and so is a folder, which the one that is renamed
        then replaces: empty as it is, or else not at all.
        """
        api = self._volume.api
        if stat.S_ISDIR(status.mode):
            self._make_folder(new, path, 0o700)
            try:
                self._move(old, new, path)
            except OSError:
                api.lib.glfs_h_unlink(self._volume.fs, new.parent, new.name)
                raise
            return
        if api.lib.glfs_h_link(self._volume.fs, old.object, new.parent, new.name):
            error = self._failure(path)
            if error.errno == errno.ENOENT and self._is_there(new):
                # Of two who want a name at a time, a volume of several bricks may tell one that there is nothing.
                refuse(errno.EEXIST, path)
            if error.errno not in _NO_LINKS:
                raise error
            self._move(old, new, path)
        elif api.lib.glfs_h_unlink(self._volume.fs, old.parent, old.name):
            error = self._failure(path)
            api.lib.glfs_h_unlink(self._volume.fs, new.parent, new.name)
            raise error

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give the file of `handle` a further name."""
        if handle.is_directory:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)
        self._ask(token, handle, self._link, directory.private, encode_name(path))

    def _link(self, opened: Opened, start: Opened, path: bytes) -> None:
        with start.in_use(), self._walk(start, path) as walk:
            at = walk.parent()
            with self._volume.watching.own(at.parent) as done:
                if self._volume.api.lib.glfs_h_link(self._volume.fs, opened.object, at.parent, at.name):
                    raise self._failure(path)
                done.append((at.parent, at.name, True))

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link."""
        raw = encode_name(target)
        if len(raw) >= LONGEST_LINK:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        if not raw:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._call(token, self._symlink, raw, directory.private, encode_name(path))

    def _symlink(self, target: bytes, start: Opened, path: bytes) -> None:
        api = self._volume.api
        status = api.ffi.new("struct stat *")
        with start.in_use(), self._walk(start, path) as walk:
            at = walk.parent()
            with self._volume.watching.own(at.parent) as done:
                self._keep_nothing(api.lib.glfs_h_symlink(self._volume.fs, at.parent, at.name, target, status), path)
                done.append((at.parent, at.name, True))

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target that a symbolic link holds."""
        return decode_name(self._call(token, self._readlink, directory.private, encode_name(path)))

    def _readlink(self, start: Opened, path: bytes) -> bytes:
        with start.in_use(), self._walk(start, path) as walk:
            found = walk.end(False)
            if found.stat is None:
                refuse(errno.ENOENT, path)
            if not stat.S_ISLNK(found.stat.mode):
                refuse(errno.EINVAL, path)
            return read_link(self._volume, found.object)


def _refuse_replacing(source: FileStat, target: FileStat, path: bytes) -> None:
    """A folder replaces a folder only, and nothing else does."""
    if stat.S_ISDIR(target.mode) and not stat.S_ISDIR(source.mode):
        refuse(errno.EISDIR, path)
    if stat.S_ISDIR(source.mode) and not stat.S_ISDIR(target.mode):
        refuse(errno.ENOTDIR, path)
