"""NtOpen: one open of a file or directory at the NT level (MS-FSA 2.1.1.6 Per Open)."""

from typing import TYPE_CHECKING

from lamina.ntfsa.record import FileKey
from lamina.vfs_modules.handle import VfsHandle

if TYPE_CHECKING:
    import asyncio

    from lamina.ntfsa.grants.grant_holders import Lease, Oplock
    from lamina.ntfsa.listing.enumeration import Enumeration
    from lamina.ntfsa.notify.watchers import Watcher
    from lamina.ntfsa.times.sticky_times import StickyTimes
    from lamina.ntfsa.volume import NtVolume


class NtOpen:
    """One open.

    `path` is the NT path from the share's root, `vfs_path` the same name for the chain; both stay true when the file
    or a directory above it is renamed. `owner` is this open's number in the record of the file, `file_key` the
    record's key, `file_id` the 64-bit index number. `sticky`: times that the client has set or frozen through it, and
    that what is done through it does not change; None for none (see `sticky_times`). `has_written`: the first write
    through it was noted (see `modification`). `unarchived`: that write has to mark the file for archiving.
    `reserved`: bytes that FileAllocationInformation has asked for. `watcher`: it waits for changes in its directory,
    or has; `stream`: the name of the named stream that is open, "" for the file itself; `data`, with the operations
    of `chain`, is the handle of what is read and written: for a file the same as `handle`. `told_at_close`:
    FILE_NOTIFY_CHANGE_* that other such opens learn of when this one closes. `posix`: it was made with the create
    context of the POSIX extensions (see `posix_extensions`).
    """

    __slots__ = (
        "chain",
        "closed",
        "data",
        "delete_on_close",
        "enumeration",
        "file_id",
        "file_key",
        "granted_access",
        "handle",
        "has_written",
        "is_directory",
        "lease",
        "mode",
        "next_ea",
        "next_quota",
        "oplock",
        "options",
        "owner",
        "parent_key",
        "path",
        "position",
        "posix",
        "posix_delete",
        "reserved",
        "share_access",
        "sticky",
        "stream",
        "told_at_close",
        "unarchived",
        "vfs_path",
        "volume",
        "waiting_locks",
        "watcher",
    )

    def __init__(
        self, volume: "NtVolume", handle: VfsHandle, path: str, vfs_path: str, file_key: FileKey, owner: int
    ) -> None:
        self.volume = volume
        self.handle = self.data = handle
        self.chain = volume.chain
        self.stream = ""
        self.path = path
        self.vfs_path = vfs_path
        self.file_key = file_key
        self.file_id = file_key[1]
        self.owner = owner
        self.is_directory = handle.is_directory
        self.granted_access = 0
        self.share_access = 0
        self.options = 0
        self.mode = 0
        self.next_ea = 0
        self.next_quota = (0, 0)
        self.position = 0
        self.reserved = 0
        self.delete_on_close = False
        self.posix = False
        self.posix_delete = False
        self.closed = False
        self.has_written = False
        self.enumeration: Enumeration | None = None
        self.oplock: Oplock | None = None
        self.lease: Lease | None = None
        self.parent_key = b""
        self.sticky: StickyTimes | None = None
        self.waiting_locks: dict[int, asyncio.Future[None]] | None = None
        self.told_at_close = 0
        self.unarchived = False
        self.watcher: Watcher | None = None

    @property
    def name(self) -> str:
        """The last component of the path, without a stream; "" for the share's root."""
        name = self.path.rpartition("\\")[2]
        return name.partition(":")[0] if self.stream else name

    def __repr__(self) -> str:
        return f"<NtOpen {self.owner} {self.path!r} access {self.granted_access:#x}>"
