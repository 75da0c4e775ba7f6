"""The size of a share as Time Machine is shown it: what its backups take up, and what is left of the limit.

A backup is a folder NAME.sparsebundle: its Info.plist says how large the pieces of the image are, and the folder
"bands" has one file for each. The sum is what counts; other files of the share do not.
"""

import re
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, OpenHow, Operations, VolumeStatistics
from lamina.vfs_modules.token import SERVER_TOKEN

_SUFFIX: Final = ".sparsebundle"
_LIST: Final = OpenHow(Access.READ, directory=True, follow=False)
_READ: Final = OpenHow(Access.READ, follow=False)
_MAX_PLIST: Final = 65_536
_MAX_BAND: Final = 1 << 40
_BAND_SIZE: Final = re.compile(rb"<key>\s*band-size\s*</key>\s*<integer>\s*(\d{1,18})\s*</integer>")
_BLOCK: Final = 1024
_MOST_BACKUPS: Final = 1024


class BackedUp:
    """What the backups of a share take up. `root`: its root, open in the chain `below`."""

    def __init__(self, below: Operations, root: VfsHandle) -> None:
        self._below = below
        self._root = root
        # How many bands a folder had when it was changed last: there may be a hundred thousand in it.
        self._counted: dict[str, tuple[int, int]] = {}

    def limited(self, found: VolumeStatistics, limit: int) -> VolumeStatistics:
        """What `found` says of the file system, with no more than `limit` bytes and what backups leave of them."""
        total = min(found.total, limit)
        left = max(total - self.size(), 0)
        return found._replace(block_size=_BLOCK, total=total, free=left, available=min(left, found.available))

    def size(self) -> int:
        """Bytes of all backups."""
        bundles = [name for name in self._names("") if name.lower().endswith(_SUFFIX)]
        return sum(map(self._size_of, bundles))

    def _size_of(self, bundle: str) -> int:
        try:
            plist = self._contents(f"{bundle}/Info.plist")
            bands = self._count(f"{bundle}/bands")
        except OSError:
            return 0  # it is only just being made, or no backup at all
        match = _BAND_SIZE.search(plist)
        return min(int(match[1]), _MAX_BAND) * bands if match is not None else 0

    def _count(self, folder: str) -> int:
        changed = self._below.stat(SERVER_TOKEN, self._root, folder).mtime_ns
        known = self._counted.get(folder)
        if known is None or known[0] != changed:
            if len(self._counted) >= _MOST_BACKUPS:
                self._counted.clear()
            known = self._counted[folder] = (changed, len(self._names(folder)))
        return known[1]

    def _names(self, path: str) -> list[str]:
        handle = self._below.open(SERVER_TOKEN, self._root, path, _LIST)
        try:
            return [entry.name for entry in self._below.readdir(SERVER_TOKEN, handle)]
        finally:
            self._below.close(SERVER_TOKEN, handle)

    def _contents(self, path: str) -> bytes:
        handle = self._below.open(SERVER_TOKEN, self._root, path, _READ)
        try:
            buffer = bytearray(_MAX_PLIST)
            return bytes(buffer[: self._below.pread(SERVER_TOKEN, handle, memoryview(buffer), 0)])
        finally:
            self._below.close(SERVER_TOKEN, handle)
