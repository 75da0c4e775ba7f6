"""What an open file is here: an inode that is held, a file handle of the library where data is reached, and their ends.

An open file outlives the mount that it was opened by: with the next one it is found again by its inode, and opened as
the server, since access was granted when the client opened it. A file that was written to and not made safe before the
mount was lost has lost something, perhaps: it says EIO from then on.
"""

import errno
import os
import stat as st
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_void_p
from typing import Final

from lamina.vfs_modules.operations import Access, FileStat

from lamina_ceph.errors import checked, fail
from lamina_ceph.library import NOSNAP, STATX, WANT, Statx, Vinode
from lamina_ceph.mount import Mount
from lamina_ceph.permissions import UserPermissions

_SECTOR: Final = 512

BLOCK: Final = 4096
"""What sizes on disk are told in: CephFS has no blocks, and counts its files' bytes in sectors."""

_BILLION: Final = 1_000_000_000

FLAGS: Final = (0, os.O_RDONLY, os.O_WRONLY, os.O_RDWR)
"""By Access."""


def file_stat(raw: Statx, device: int) -> FileStat:
    """What ntfsa wants to know of a file. Snapshots count as devices of their own: inodes are the same in them."""
    (_, _, nlink, uid, gid, mode, ino, size, blocks, snapshot, _, *times, _) = STATX.unpack(raw)
    a_s, a_ns, c_s, c_ns, m_s, m_ns, b_s, b_ns = times
    return FileStat(
        device if snapshot == NOSNAP else device ^ (snapshot << 32),
        ino,
        mode,
        nlink,
        uid,
        gid,
        size,
        -(-blocks * _SECTOR // BLOCK) * BLOCK,
        a_s * _BILLION + a_ns,
        m_s * _BILLION + m_ns,
        c_s * _BILLION + c_ns,
        b_s * _BILLION + b_ns,
    )


class Opened:
    """What is kept for a handle. Everything but the attributes that never change is for threads of the connection.

    `vinode`: which file, in which snapshot; `written` and `safe` count writes, and how many of them are known to be on
    stable storage; `stable`: all are to be when they are answered; `uses`: calls that are under way with it.
    """

    __slots__ = (
        *("access", "address", "closed", "fh", "inode", "is_directory", "lock", "lost", "mount", "permissions"),
        *("retired", "safe", "stable", "uses", "vinode", "written"),
    )

    def __init__(
        self, mount: Mount, inode: int, fh: int, raw: Statx, access: Access, permissions: UserPermissions
    ) -> None:
        self.mount, self.inode, self.fh, self.access = mount, inode, fh, access
        self.permissions = permissions
        self.vinode = (int(raw.ino), int(raw.dev))
        self.is_directory = st.S_ISDIR(raw.mode)
        self.lock = threading.Lock()
        self.uses = self.written = self.safe = 0
        self.closed = self.stable = self.lost = False
        self.retired: list[int] = []
        self.address = b""

    @contextmanager
    def used(self, mount: Mount) -> Iterator["Opened"]:
        """For one call on `mount`: it is not closed meanwhile. Raises EBADF, EIO, and ESTALE where the file is gone."""
        with self.lock:
            if self.closed:
                fail(errno.EBADF)
            if self.mount is not mount:
                self._move_to(mount)
            if self.lost:
                fail(errno.EIO)
            self.uses += 1
        try:
            yield self
        finally:
            with self.lock:
                self.uses -= 1
                ends = self.closed and not self.uses
            if ends:
                self._release()

    def end(self) -> None:
        """Close it, or let whoever still uses it close it. Raises what could not be written."""
        with self.lock:
            ends = not self.closed and not self.uses
            self.closed = True
        if ends:
            self._release()

    def _release(self) -> None:
        mount, library = self.mount, self.mount.library
        if mount.lost:
            if self.lost or self.written != self.safe:
                fail(errno.EIO)
            return
        result = 0
        for fh in (*self.retired, self.fh):
            result = library.ceph_ll_close(mount.pointer, fh) if fh else result
        library.ceph_ll_put(mount.pointer, self.inode)
        if self._has_lost():
            fail(errno.EIO)
        checked(result)

    def _has_lost(self) -> bool:
        return self.lost or (self.written != self.safe and self.mount.address() != self.address)

    def count_write(self) -> None:
        """Something is about to be written."""
        with self.lock:
            if not self.written:
                self.address = self.mount.address()
            self.written += 1

    def uncount_write(self) -> None:
        """It was not: the library did not take it."""
        with self.lock:
            self.written -= 1

    def reopen(self, fh: int) -> None:
        """Have another file handle instead of `fh`, which the library does not know any more.

        Raises EIO where something may have been lost with it.
        """
        with self.lock:
            if self.fh != fh:
                return  # somebody else has been quicker
            self.lost = self.lost or self.written != self.safe
            if self.lost:
                fail(errno.EIO)
            self.fh = open_inode(self.mount, self.inode, FLAGS[self.access], self.mount.server)
            self.retired.append(fh)
            self.address = self.mount.address()

    def _move_to(self, mount: Mount) -> None:
        # Locks were lost with the mount, and ntfsa's are not told anew: the handle goes on without them.
        self.lost = self.lost or self.written != self.safe
        inode, raw = inode_of(mount, self.vinode, self.permissions)
        fh = 0
        try:
            if self.fh:
                fh = open_inode(mount, inode, FLAGS[self.access], mount.server)
        except BaseException:
            mount.library.ceph_ll_put(mount.pointer, inode)
            raise
        self.mount, self.inode, self.fh = mount, inode, fh
        self.retired.clear()
        self.address = mount.address()


def open_inode(mount: Mount, inode: int, flags: int, permissions: UserPermissions) -> int:
    """Open an inode's data. Raises EACCES."""
    fh = c_void_p()
    checked(mount.library.ceph_ll_open(mount.pointer, inode, flags, byref(fh), permissions.pointer))
    return fh.value or 0


def inode_of(mount: Mount, vinode: tuple[int, int], permissions: UserPermissions) -> tuple[int, Statx]:
    """The inode of a number, held, and its attributes, wherever its name is now; ESTALE where it is gone."""
    inode, raw, library = c_void_p(), Statx(), mount.library
    result = library.ceph_ll_lookup_vino(mount.pointer, Vinode(*vinode), byref(inode))
    if result in {-errno.ENOENT, -errno.ESTALE} or (result == 0 and not inode.value):
        fail(errno.ESTALE)
    checked(result)
    assert inode.value is not None
    try:
        checked(library.ceph_ll_getattr(mount.pointer, inode, byref(raw), WANT, 0, permissions.pointer))
        if not raw.nlink:
            fail(errno.ESTALE)
    except BaseException:
        library.ceph_ll_put(mount.pointer, inode)
        raise
    return inode.value, raw
