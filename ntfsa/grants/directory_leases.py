"""Directory leases: a client may keep what it has listed, until anything in the listing changes.

MS-SMB2 3.3.1.4 Algorithm for Leasing in an Object Store; MS-FSA 2.1.4.12 with PARENT_OBJECT. A lease of a directory
is a watcher of it, so that it also breaks for what local programs do. Whoever makes the change under the directory's
lease key (ParentLeaseKey, 2.2.13.2.10) knows of it, and does not break the lease.
"""

import time
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.fscc.notify_information import NotifyRecord
from lamina.ntfsa.grants.breaking import break_one
from lamina.ntfsa.grants.caching import CHANGE_ENTRY
from lamina.ntfsa.notify.change_notify import begin_watching, end_watching, sees_local_changes
from lamina.ntfsa.notify.watchers import UNLISTED, Watcher

if TYPE_CHECKING:
    from lamina.ntfsa.grants.grant_holders import Lease
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken

_LISTED: Final = (
    n.FILE_NOTIFY_CHANGE_FILE_NAME
    | n.FILE_NOTIFY_CHANGE_DIR_NAME
    | n.FILE_NOTIFY_CHANGE_ATTRIBUTES
    | n.FILE_NOTIFY_CHANGE_SIZE
    | n.FILE_NOTIFY_CHANGE_LAST_WRITE
    | n.FILE_NOTIFY_CHANGE_LAST_ACCESS
    | n.FILE_NOTIFY_CHANGE_CREATION
    | n.FILE_NOTIFY_CHANGE_EA
)
"""What a listing shows of an entry."""


class LeaseWatcher(Watcher):
    """Breaks the lease of a directory where something in it changes. `lost`: it could not see everything."""

    __slots__ = ("_lease", "lost", "volume")

    def __init__(self, volume: "NtVolume", lease: "Lease", path: str) -> None:
        super().__init__(path, _LISTED, False, 0)
        self.volume = volume
        self.lost = False
        self._lease = lease

    def add(self, records: list[NotifyRecord], by: bytes) -> None:
        """Something in the directory has changed."""
        if by not in (self._lease.key, UNLISTED):
            self._break()

    def lose(self) -> None:
        """Something may have changed, and more may without our knowledge."""
        self.lost = True
        self._break()

    def _break(self) -> None:
        lease = self._lease
        self.volume.registry.update(lease.file_key, break_one, lease.identity, CHANGE_ENTRY, time.monotonic())


def may_lease_directories(volume: "NtVolume") -> bool:
    """Whether directories are leased: only where what is done beside SMB is seen, too."""
    return volume.settings.directory_leases and sees_local_changes(volume)


def watch_for_lease(token: "ImpersonationToken", open_: "NtOpen", lease: "Lease") -> bool:
    """Have the lease of a directory that is open broken when something in it changes; may wait.

    False where not every change would be seen, as there are too many watches: then there can be no lease.
    """
    watcher = lease.watcher
    if watcher is None:
        watcher = lease.watcher = LeaseWatcher(open_.volume, lease, open_.vfs_path)
        try:
            begin_watching(token, open_, watcher)
        except BaseException:
            # Another open may have the lease by now.
            watcher.lose()
            if lease.watcher is watcher:
                stop_watching(lease)
            raise
    return lease.watcher is watcher and not watcher.lost


def stop_watching(lease: "Lease") -> None:
    """The lease is over, or nothing of it is left to be broken."""
    watcher, lease.watcher = lease.watcher, None
    if watcher is not None:
        end_watching(watcher.volume, watcher)
