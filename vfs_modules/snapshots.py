"""Where snapshots come from: what the module `shadow_copy` asks, and what others write for file systems of their own.

A provider is a class that is announced as an entry point of the group `lamina.snapshot_providers`, or handed to
`ShadowCopyModule`; configuration names it (`provider = "zfs"`)::

    class Tape(SnapshotProvider):
        def snapshots(self):
            return [Snapshot(when, f".tape/{number}") for number, when in self._catalogue()]

That is all where snapshots are folders that the layers below reach by a path from the share's root. Others say in
`open_root` how the root of a snapshot is opened.
"""

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, Final, NamedTuple

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleError, ShareInfo
from lamina.vfs_modules.operations import Access, OpenHow, Operations
from lamina.vfs_modules.token import SERVER_TOKEN

GROUP: Final = "lamina.snapshot_providers"
"""The entry point group."""

FOLDER: Final = OpenHow(Access.PATH, directory=True, follow=False)
"""How the root of a snapshot is opened."""


class Snapshot(NamedTuple):
    """The share as it was. `when`: seconds since 1970 UTC; `place`: what its provider knows it by.

    For a provider without an `open_root` of its own that is the path of a folder, from the root of the share.
    """

    when: int
    place: str


class SnapshotProvider:
    """Knows the snapshots of one share. `below` are the layers beneath the module that asks.

    Everything may wait, and raises OSError where something fails; all is done as the server.
    """

    below: Operations
    root: VfsHandle

    def connect(self, share: ShareInfo, below: Operations, root: VfsHandle) -> None:
        """Get ready. `root` is the share's, open as long as this is connected. Raises OSError to refuse."""
        self.below, self.root = below, root

    def disconnect(self) -> None:
        """Give back what `connect` took."""

    def snapshots(self) -> Sequence[Snapshot]:
        """Those that there are now, in no order. Of two of one second the later in the list counts."""
        raise NotImplementedError

    def open_root(self, snapshot: Snapshot) -> VfsHandle:
        """A handle of the folder that was the share's root, that the layers below take; whoever asks closes it there.

        Raises ENOENT where the snapshot is gone.
        """
        return self.below.open(SERVER_TOKEN, self.root, snapshot.place, FOLDER)

    def hides(self, path: str) -> bool:
        """Whether a path, from the share's root, leads into snapshots: nothing can be changed there."""
        return False


def make_provider(name: str, options: dict[str, Any]) -> SnapshotProvider:
    """The provider that an installed distribution announces by this name. Raises ModuleError."""
    points = entry_points(group=GROUP, name=name)
    if not points:
        known = sorted({point.name for point in entry_points(group=GROUP)})
        raise ModuleError(f"shadow_copy: no provider {name!r} is installed (there are: {', '.join(known) or 'none'})")
    made = next(iter(points)).load()(**options)
    if not isinstance(made, SnapshotProvider):
        raise ModuleError(f"shadow_copy: the provider {name!r} is no SnapshotProvider")
    return made


__all__ = ["FOLDER", "GROUP", "Snapshot", "SnapshotProvider", "make_provider"]
