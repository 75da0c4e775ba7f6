"""Snapshots on Btrfs, whatever they are called: it knows what a subvolume is a snapshot of, and since when.

All subvolumes beneath the folder of the snapshots are looked at, also in other folders and in other subvolumes in it
(as snapper has them: ".snapshots/17/snapshot").
"""

import errno
from collections.abc import Sequence
from contextlib import suppress

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access, OpenHow, Operations
from lamina.vfs_modules.snapshots import Snapshot
from lamina.vfs_modules.stock.snapshotting.folders import FolderSnapshots
from lamina.vfs_modules.syscalls import btrfs
from lamina.vfs_modules.token import SERVER_TOKEN

_LIST = OpenHow(Access.READ, directory=True, follow=False)
_NANO = 1_000_000_000
_DEPTH = 4


class BtrfsSnapshots(FolderSnapshots):
    """Snapshots of the subvolume that the share is in."""

    def connect(self, share: ShareInfo, below: Operations, root: VfsHandle) -> None:
        """Learn what subvolume the share is in."""
        super().connect(share, below, root)
        handle = below.open(SERVER_TOKEN, root, "", _LIST)
        try:
            self._own = self._subvolume(handle)
        finally:
            below.close(SERVER_TOKEN, handle)
        if not self._options.snapsharepath and not self._options.basedir:
            self._within = offload(SERVER_TOKEN, btrfs.path_in_subvolume, share.path)

    @staticmethod
    def _subvolume(handle: VfsHandle) -> btrfs.Subvolume:
        try:
            return offload(SERVER_TOKEN, btrfs.subvolume, handle.fd)
        except OSError as error:
            raise OSError(errno.ENOTSUP, "the share is not on Btrfs") from error

    def snapshots(self) -> Sequence[Snapshot]:
        """The snapshots of the share's subvolume."""
        return self._beneath(self._prefix, "", _DEPTH)

    def _beneath(self, prefix: str, path: str, depth: int) -> list[Snapshot]:
        found: list[Snapshot] = []
        with suppress(FileNotFoundError, NotADirectoryError):
            whole = "/".join(filter(None, (prefix, path)))
            handle = self._store.open(SERVER_TOKEN, self._top, whole, _LIST)
            try:
                inner = offload(SERVER_TOKEN, lambda: list(btrfs.subvolumes_beneath(handle.fd)))
                one = self._subvolume(handle)
            finally:
                self._store.close(SERVER_TOKEN, handle)
            if path and one.parent == self._own.uuid:
                return [Snapshot(one.otime_ns // _NANO, path)]
            for each in inner if depth else ():
                found += self._beneath(prefix, "/".join(filter(None, (path, each))), depth - 1)
        return found
