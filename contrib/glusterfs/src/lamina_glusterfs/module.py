"""Serves a GlusterFS volume, through libgfapi: nothing is mounted, and each call is made as the user it is for."""

import errno
import os
import secrets
from typing import Any, ClassVar

from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.token import SERVER_TOKEN

from lamina_glusterfs.attributes import GlusterAttributes
from lamina_glusterfs.data import GlusterData
from lamina_glusterfs.directories import GlusterDirectories
from lamina_glusterfs.durability import GlusterDurability
from lamina_glusterfs.locks import GlusterLocks
from lamina_glusterfs.names import GlusterNames
from lamina_glusterfs.options import GlusterOptions

_BLOCK = 4096


class GlusterBackend(GlusterNames, GlusterDirectories, GlusterData, GlusterAttributes, GlusterLocks, GlusterDurability):
    """Serves a GlusterFS volume."""

    Options = GlusterOptions
    name: ClassVar[str] = "glusterfs"
    api_version: ClassVar[tuple[int, int]] = (1, 9)
    provides: ClassVar[tuple[str, ...]] = ("cookies",)

    options: GlusterOptions

    def one_process(self) -> str:
        """All that it keeps is on the volume, and each process has a connection of its own."""
        return ""

    def capabilities(self, below: Capability) -> Capability:
        """What the volume has."""
        found = (
            Capability.CASE_SENSITIVE
            | Capability.HARD_LINKS
            | Capability.SYMLINKS
            | Capability.XATTRS
            | Capability.DURABLE_HANDLES
        )
        if self.options.posix_locking:
            found |= Capability.RANGE_LOCKS
        if self.options.upcalls:
            found |= Capability.WATCH_CHANGES
        return found | Capability.SPARSE if self._call(SERVER_TOKEN, self._has_holes) else found

    def _has_holes(self) -> bool:
        """Whether the bricks' file systems can give space back, tried on a file that is there for that moment."""
        api, root = self._volume.api, self._root
        name = f".lamina-{secrets.token_hex(8)}".encode()
        status, descriptor = api.ffi.new("struct stat *"), api.ffi.new("glfs_fd_t **")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        object_ = api.lib.glfs_h_creat_open(self._volume.fs, root.object, name, flags, 0o600, status, descriptor)
        if object_ == api.ffi.NULL:
            return True  # nothing can be made here; bricks are on file systems that can, as a rule
        api.lib.glfs_h_unlink(self._volume.fs, root.object, name)
        api.lib.glfs_h_close(object_)
        try:
            return self._punches(descriptor[0])
        finally:
            api.lib.glfs_close(descriptor[0])

    def _punches(self, descriptor: Any) -> bool:
        api = self._volume.api
        null = api.ffi.NULL
        if api.lib.glfs_ftruncate(descriptor, 2 * _BLOCK, null, null):
            return False
        refused = errno.ENOTSUP, errno.ENOSYS, errno.EINVAL
        return api.lib.glfs_discard(descriptor, 0, _BLOCK) == 0 or api.ffi.errno not in refused
