"""How the file of a persistent handle is found again after a restart: by its gfid, whatever its name is by then."""

import errno
import os
import stat
from struct import Struct
from typing import Final, NoReturn

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

from lamina_glusterfs.binding import HANDLE_LENGTH, file_stat
from lamina_glusterfs.opened import FLAGS, Opened
from lamina_glusterfs.opening import GlusterOpening

_MAGIC: Final = b"LGC1"
_COOKIE: Final = Struct(f"<4sI{HANDLE_LENGTH}s")
_PATHS: Final = b"glusterfs.gfidtopath"
_LONGEST_PATH: Final = 65536


class GlusterDurability(GlusterOpening):
    """The part of the backend that finds files again."""

    def durable_cookie(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        """The volume's number and the file's."""
        if handle.is_directory:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        opened: Opened = handle.private
        with opened.in_use():
            return _COOKIE.pack(_MAGIC, self._volume.number, self._volume.gfid(opened.object))

    def durable_open(self, token: ImpersonationToken, directory: VfsHandle, cookie: bytes, how: OpenHow) -> VfsHandle:
        """Open the file of a cookie, wherever in the share it is."""
        if len(cookie) != _COOKIE.size or not cookie.startswith(_MAGIC):
            _refuse(errno.EINVAL)
        _, number, gfid = _COOKIE.unpack(cookie)
        if number != self._volume.number:
            _refuse(errno.ESTALE)
        found = self._call(SERVER_TOKEN, self._find, gfid, late=Opened.close)
        try:
            return self._handle(self._call(token, self._open_found, found, how, late=Opened.close))
        finally:
            found.close()

    def _find(self, gfid: bytes) -> Opened:
        api = self._volume.api
        status = api.ffi.new("struct stat *")
        object_ = api.lib.glfs_h_create_from_handle(self._volume.fs, gfid, HANDLE_LENGTH, status)
        if object_ == api.ffi.NULL:
            error = self._volume.failure()
            _refuse(errno.ESTALE if error.errno in {errno.ENOENT, errno.EINVAL} else error.errno or errno.EIO)
        found = Opened(self._volume, object_, None, OpenHow().access, False)
        told = file_stat(api.form, api.ffi.buffer(status))
        if not stat.S_ISREG(told.mode) or not told.nlink or not self._is_in_share(found, gfid):
            found.close()
            _refuse(errno.ESTALE)
        return found

    def _is_in_share(self, found: Opened, gfid: bytes) -> bool:
        """Whether one of the file's names is beneath the share's root: the bricks know them (`storage.gfid2path`)."""
        if self._top == "/":
            return True
        root = os.fsencode(self._top) + b"/"
        api = self._volume.api
        room = api.ffi.new(f"char[{_LONGEST_PATH}]")
        length = api.lib.glfs_h_getxattrs(self._volume.fs, found.object, _PATHS, room, _LONGEST_PATH)
        if length < 0:
            return False
        # They are told in a row, with ":" between them, which a name may have: so each is looked at.
        told = bytes(api.ffi.buffer(room, length)).rstrip(b"\0").split(b":/")
        paths = [path if path.startswith(b"/") else b"/" + path for path in told]
        return any(self._leads_to(path.removeprefix(root), gfid) for path in paths if path.startswith(root))

    def _leads_to(self, path: bytes, gfid: bytes) -> bool:
        try:
            with self._walk(self._root, path) as walk:
                found = walk.end(False)
                return found.stat is not None and self._volume.gfid(found.object) == gfid
        except OSError:
            return False

    def _open_found(self, found: Opened, how: OpenHow) -> Opened:
        api = self._volume.api
        with found.in_use():
            object_ = api.lib.glfs_object_copy(found.object)
            if object_ == api.ffi.NULL:
                raise self._volume.failure()
            opened = Opened(self._volume, object_, None, how.access, False)
            if how.access:
                try:
                    opened.descriptor = self._volume.open_file(found.object, FLAGS[how.access])
                except OSError:
                    opened.close()
                    raise
        return opened


def _refuse(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))
