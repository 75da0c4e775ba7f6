"""How `ceph` lists directories: names with their attributes in one go, many of them in each turn of a thread."""

import errno
from collections.abc import Iterator
from ctypes import byref, c_void_p
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import decode_name
from lamina.vfs_modules.operations import DirectoryEntry, FileStat
from lamina.vfs_modules.token import ImpersonationToken

from lamina_ceph.errors import checked, fail
from lamina_ceph.files import Opened, file_stat
from lamina_ceph.library import NOFOLLOW, WANT, Dirent, Statx
from lamina_ceph.mount import Mount
from lamina_ceph.share import CephShare

_BATCH: Final = 256


class _Listing:
    """A directory that is being read."""

    __slots__ = ("at_end", "mount", "pointer")

    def __init__(self, mount: Mount, pointer: int) -> None:
        self.mount, self.pointer = mount, pointer
        self.at_end = False

    def close(self) -> None:
        if not self.mount.lost:
            self.mount.library.ceph_ll_releasedir(self.mount.pointer, self.pointer)


class CephDirectories(CephShare):
    """The part of `ceph` that lists."""

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory."""
        opened: Opened = handle.private
        if not opened.is_directory:
            fail(errno.ENOTDIR)
        return self._entries(opened, with_attributes)

    def _entries(self, opened: Opened, with_attributes: bool) -> Iterator[DirectoryEntry]:
        listing = self._ask(_begin, opened, late=_Listing.close, again=True)
        try:
            while not listing.at_end:
                for name, stat in self._ask(_read_on, opened, listing, with_attributes):
                    yield DirectoryEntry(decode_name(name), stat)
        finally:
            self._connection.discard(listing.close)


def _begin(mount: Mount, opened: Opened) -> _Listing:
    with opened.used(mount):
        pointer = c_void_p()
        # Who has opened it for reading may list it, whatever its mode has become.
        checked(mount.library.ceph_ll_opendir(mount.pointer, opened.inode, byref(pointer), mount.server.pointer))
        assert pointer.value is not None
        return _Listing(mount, pointer.value)


def _read_on(
    mount: Mount, opened: Opened, listing: _Listing, with_attributes: bool
) -> list[tuple[bytes, FileStat | None]]:
    if listing.mount is not mount:
        fail(errno.EIO)
    entries: list[tuple[bytes, FileStat | None]] = []
    entry, raw = Dirent(), Statx()
    want = WANT if with_attributes else 0
    call, arguments = (
        mount.library.ceph_readdirplus_r,
        (mount.pointer, listing.pointer, byref(entry), byref(raw), want, NOFOLLOW, None),
    )
    with opened.used(mount):
        while len(entries) < _BATCH:
            if not checked(call(*arguments)):
                listing.at_end = True
                break
            name = entry.name
            if name not in {b".", b".."}:
                entries.append((name, file_stat(raw, mount.device) if with_attributes else None))
    return entries
