"""The snapshots of a volume for `shadow_copy`: what user-serviceable snapshots show as `.snaps` in each folder.

The volume has them where its option `features.uss` is on and snapshots are activated. GlusterFS puts the time of a
snapshot at the end of its name, in UTC, unless it is told not to (`snapshot create NAME VOLUME no-timestamp`): those
without one are left out, as nobody knows of when they are.
"""

import calendar
import errno
import re
import time
from collections.abc import Sequence
from typing import Final

from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.snapshots import Snapshot, SnapshotProvider
from lamina.vfs_modules.token import SERVER_TOKEN

_TIME: Final = re.compile(r".*_GMT-(\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d)", re.DOTALL)
_LIST: Final = OpenHow(Access.READ, directory=True, follow=False)
_NONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


class GlusterSnapshots(SnapshotProvider):
    """Those of the share's volume. `entry`: what their folder is called there (`features.snapshot-directory`)."""

    def __init__(self, entry: str = ".snaps") -> None:
        self._entry = entry

    def snapshots(self) -> Sequence[Snapshot]:
        """Those whose names tell their time; none where the volume shows none."""
        try:
            folder = self.below.open(SERVER_TOKEN, self.root, self._entry, _LIST)
        except OSError as error:
            if error.errno in _NONE:
                return ()
            raise
        try:
            names = [entry.name for entry in self.below.readdir(SERVER_TOKEN, folder)]
        finally:
            self.below.close(SERVER_TOKEN, folder)
        return [Snapshot(when, f"{self._entry}/{name}") for name in names if (when := time_of(name)) is not None]

    def hides(self, path: str) -> bool:
        """Whether a path leads into snapshots: every folder has the entry."""
        return self._entry in path.split("/")


def time_of(name: str) -> int | None:
    """When a snapshot of this name was made, in seconds since 1970; None where it does not say."""
    found = _TIME.fullmatch(name)
    if found is None:
        return None
    try:
        return calendar.timegm(time.strptime(found[1], "%Y.%m.%d-%H.%M.%S"))
    except ValueError:
        return None
