"""Byte-range locks that other clients of the volume see: POSIX locks of the volume, each handle's of an owner's own."""

import errno
import fcntl
import os
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access
from lamina.vfs_modules.outside import RangeLock
from lamina.vfs_modules.token import ImpersonationToken

from lamina_glusterfs.binding import FLOCK
from lamina_glusterfs.opened import Opened
from lamina_glusterfs.share import GlusterShare

_LIMIT: Final = 1 << 63
_KINDS: Final = {RangeLock.NONE: fcntl.F_UNLCK, RangeLock.SHARED: fcntl.F_RDLCK, RangeLock.EXCLUSIVE: fcntl.F_WRLCK}


class GlusterLocks(GlusterShare):
    """The part of the backend that shows locks to other clients of the volume."""

    def set_range_lock(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, kind: RangeLock
    ) -> None:
        """Lock a range on the volume, for this handle alone.

        What a volume cannot express is left out: ranges without bytes, bytes from 2^63 on, locks of what is not open
        for data.
        """
        if not self.options.posix_locking:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        opened: Opened = handle.private
        if length and offset < _LIMIT and opened.access is not Access.PATH and not opened.is_directory:
            self._ask(token, handle, self._lock, offset, length, kind)

    def _lock(self, opened: Opened, offset: int, length: int, kind: RangeLock) -> None:
        api = self._volume.api
        # No length is as far as there are bytes.
        length = 0 if offset + length >= _LIMIT else length
        asked = api.ffi.new("struct flock *")
        api.ffi.buffer(asked)[: FLOCK.size] = FLOCK.pack(_KINDS[kind], os.SEEK_SET, offset, length, 0)
        if api.lib.glfs_posix_lock(opened.descriptor, fcntl.F_SETLK, asked):
            error = self._volume.failure()
            raise OSError(errno.EAGAIN, error.strerror) if error.errno == errno.EACCES else error
