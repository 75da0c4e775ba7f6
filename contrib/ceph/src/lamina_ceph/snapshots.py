"""The snapshots of CephFS for `shadow_copy`: those of the share's root, and those that were made further up.

Each directory has a folder that no list shows, `.snap`, in which every snapshot is a directory; when one was made it
says by an extended attribute. So nothing has to be read out of names.
"""

import errno
from collections.abc import Sequence
from typing import Final

from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.snapshots import FOLDER, Snapshot, SnapshotProvider
from lamina.vfs_modules.token import SERVER_TOKEN

_LIST: Final = OpenHow(Access.READ, directory=True, follow=False)
_MADE: Final = "ceph.snap.btime"


class CephSnapshots(SnapshotProvider):
    """All snapshots that hold the share's root. `folder`: how the cluster calls `.snap`, `client_snapdir`."""

    def __init__(self, folder: str = ".snap") -> None:
        self._folder = folder

    def snapshots(self) -> Sequence[Snapshot]:
        """Those that there are now."""
        listing = self.below.open(SERVER_TOKEN, self.root, self._folder, _LIST)
        try:
            names = [entry.name for entry in self.below.readdir(SERVER_TOKEN, listing)]
        finally:
            self.below.close(SERVER_TOKEN, listing)
        found = (self._snapshot(f"{self._folder}/{name}") for name in names)
        return [snapshot for snapshot in found if snapshot is not None]

    def _snapshot(self, place: str) -> Snapshot | None:
        try:
            handle = self.below.open(SERVER_TOKEN, self.root, place, FOLDER)
        except FileNotFoundError:
            return None  # it has just been removed
        try:
            made = self.below.getxattr(SERVER_TOKEN, handle, _MADE)
        except OSError as error:
            if error.errno not in {errno.ENODATA, errno.ENOENT}:
                raise
            return None
        finally:
            self.below.close(SERVER_TOKEN, handle)
        return Snapshot(int(made.partition(b".")[0]), place)

    def hides(self, path: str) -> bool:
        """Whether a path leads into the snapshots of any directory."""
        return self._folder in path.split("/")
