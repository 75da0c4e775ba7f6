"""How files of a volume are opened, and made by opening."""

import errno
import os
import stat
from typing import Any, Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import Access, FileStat, OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

from lamina_glusterfs.binding import file_stat
from lamina_glusterfs.opened import FLAGS, Opened
from lamina_glusterfs.share import GlusterShare
from lamina_glusterfs.transfers import elsewhere
from lamina_glusterfs.walk import Found, Walk, refuse

_TRIES: Final = 8


class GlusterOpening(GlusterShare):
    """The part of the backend that opens and closes."""

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root directory for PATH."""
        return self._handle(self._call(token, self._copy_root, late=Opened.close))

    def _copy_root(self) -> Opened:
        with self._root.in_use():
            object_ = self._volume.api.lib.glfs_object_copy(self._root.object)
        if object_ == self._volume.api.ffi.NULL:
            raise self._volume.failure()
        return Opened(self._volume, object_, None, Access.PATH, True)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names beneath `directory`."""
        return self._handle(self._call(token, self._open, directory.private, encode_name(path), how, late=Opened.close))

    @staticmethod
    def _handle(opened: Opened) -> VfsHandle:
        return VfsHandle(-1, opened.is_directory, opened)

    def _open(self, start: Opened, path: bytes, how: OpenHow) -> Opened:
        with start.in_use():
            for _ in range(_TRIES):
                try:
                    with self._walk(start, path) as walk:
                        found = walk.end(how.follow and not (how.create and how.exclusive))
                        if found.stat is None:
                            return self._make(found, path, how)
                        return self._reach(walk, found, found.stat, path, how)
                except FileExistsError:
                    if how.exclusive:
                        raise  # somebody has made it between the two calls
        refuse(errno.EBUSY, path)

    def _make(self, found: Found, path: bytes, how: OpenHow) -> Opened:
        if not how.create:
            refuse(errno.ENOENT, path)
        if how.directory:
            refuse(errno.ENOTDIR, path)
        api = self._volume.api
        descriptor = api.ffi.new("glfs_fd_t **")
        flags = os.O_CREAT | os.O_EXCL | FLAGS[how.access]
        status = api.ffi.new("struct stat *")
        with self._volume.watching.own(found.parent) as done:
            object_ = api.lib.glfs_h_creat_open(
                self._volume.fs, found.parent, found.name, flags, how.mode, status, descriptor
            )
            if object_ == api.ffi.NULL:
                raise self._volume.failure(path)
            done.append((found.parent, found.name, True))
        opened = Opened(self._volume, object_, self._volume.own_locks(descriptor[0]), how.access, False)
        opened.number = self._number(status)
        if how.access is Access.PATH:
            opened.forget_descriptor()
            self._volume.pins.remember(opened)
        return opened

    def _number(self, status: Any) -> int:
        api = self._volume.api
        return file_stat(api.form, api.ffi.buffer(status)).ino

    def _reach(self, walk: Walk, found: Found, status: FileStat, path: bytes, how: OpenHow) -> Opened:
        if how.create and how.exclusive:
            refuse(errno.EEXIST, path)
        is_directory = stat.S_ISDIR(status.mode)
        if how.directory and not is_directory:
            refuse(errno.ENOTDIR, path)
        if not how.access:
            opened = Opened(self._volume, walk.keep(found.object), None, how.access, is_directory)
            opened.number = status.ino
            self._volume.pins.remember(opened)
            return opened
        if is_directory and how.access & Access.WRITE:
            refuse(errno.EISDIR, path)
        if stat.S_ISLNK(status.mode):
            refuse(errno.ELOOP, path)
        if not is_directory and not stat.S_ISREG(status.mode):
            refuse(errno.EACCES, path)
        return self._reach_data(walk, found, is_directory, path, how.access)

    def _reach_data(self, walk: Walk, found: Found, is_directory: bool, path: bytes, access: Access) -> Opened:
        api = self._volume.api
        if is_directory:
            descriptor = api.lib.glfs_h_opendir(self._volume.fs, found.object)
        else:
            descriptor = self._volume.open_file(found.object, FLAGS[access])
        if descriptor == api.ffi.NULL:
            raise self._volume.failure(path)
        try:
            opened = Opened(self._volume, walk.keep(found.object), descriptor, access, is_directory)
            opened.number = found.stat.ino if found.stat is not None else 0
            return opened
        except OSError:
            (api.lib.glfs_closedir if is_directory else api.lib.glfs_close)(descriptor)
            raise

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back."""
        opened: Opened = handle.private
        self._volume.pins.forget(opened)
        if opened.descriptor is None:
            # What no brick knows of is forgotten without asking one.
            opened.close()
        else:
            try:
                self._volume.workers.call(self.options.timeout, self._close, opened)
            except TimeoutError:
                # Perhaps nobody has begun with it.
                elsewhere(opened.close)
                raise

    def _close(self, opened: Opened) -> None:
        self._volume.become(SERVER_TOKEN)
        opened.close()
