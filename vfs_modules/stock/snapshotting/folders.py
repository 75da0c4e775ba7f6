"""Snapshots that are folders, beneath the share or elsewhere on this machine, whose names tell their times.

What is elsewhere is opened by a backend of its own; the layers of the share then go on from the handle of the
snapshot's root, as from any other of their file system.
"""

import errno
from collections.abc import Sequence
from contextlib import suppress

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access, OpenHow, Operations
from lamina.vfs_modules.snapshots import FOLDER, Snapshot, SnapshotProvider
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.snapshotting.options import Names, ShadowCopyOptions
from lamina.vfs_modules.syscalls.btrfs import mount_point, relative_to
from lamina.vfs_modules.token import SERVER_TOKEN

_LIST = OpenHow(Access.READ, directory=True, follow=False)


class FolderSnapshots(SnapshotProvider):
    """Snapshots by the names of folders."""

    def __init__(self, options: ShadowCopyOptions) -> None:
        self._options = options
        self._names = Names(options)
        self._apart: PosixBackend | None = None

    def connect(self, share: ShareInfo, below: Operations, root: VfsHandle) -> None:
        """Find out where the snapshots are."""
        super().connect(share, below, root)
        options = self._options
        self._within = options.snapsharepath
        self._store: Operations = below
        self._top, self._prefix = root, options.snapdir
        if not options.is_in_share:
            self._go_elsewhere(share)

    def _go_elsewhere(self, share: ShareInfo) -> None:
        if self.root.fd < 0:
            raise OSError(errno.ENOTSUP, "snapshots outside the share need a share that is a folder", share.path)
        options = self._options
        mounted = options.mountpoint
        if mounted in {"", "auto"}:
            mounted = offload(SERVER_TOKEN, mount_point, share.path)
        if not options.snapsharepath:
            self._within = offload(SERVER_TOKEN, relative_to, share.path, options.basedir or mounted)
        place = options.snapdir if options.snapdir.startswith("/") else f"{mounted.rstrip('/')}/{options.snapdir}"
        self._apart = PosixBackend()
        self._apart.connect(ShareInfo(share.name, place))
        self._store, self._prefix = self._apart, ""
        self._top = self._apart.open_root(SERVER_TOKEN)

    def disconnect(self) -> None:
        """Give back what was opened elsewhere."""
        if self._apart is not None:
            self._apart.close(SERVER_TOKEN, self._top)
            self._apart.disconnect()

    def snapshots(self) -> Sequence[Snapshot]:
        """The folders whose names tell a time."""
        found = []
        for name in self._entries():
            when = self._names.when(name)
            if when is not None:
                found.append(Snapshot(when, name))
        return found

    def _entries(self) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            listing = self._store.open(SERVER_TOKEN, self._top, self._prefix, _LIST)
            try:
                return [entry.name for entry in self._store.readdir(SERVER_TOKEN, listing)]
            finally:
                self._store.close(SERVER_TOKEN, listing)
        return []

    def open_root(self, snapshot: Snapshot) -> VfsHandle:
        """The share's folder in a snapshot."""
        path = "/".join(filter(None, (self._prefix, snapshot.place, self._within)))
        return self._store.open(SERVER_TOKEN, self._top, path, FOLDER)

    def hides(self, path: str) -> bool:
        """Whether it is in the folder of the snapshots, where that is beneath the share."""
        folder = self._prefix
        return bool(folder) and path.startswith(folder) and path[len(folder) : len(folder) + 1] in {"", "/"}
