"""How `ceph` reads and writes."""

import errno
from ctypes import byref
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access
from lamina.vfs_modules.outside import RangeLock
from lamina.vfs_modules.token import ImpersonationToken

from lamina_ceph.buffers import Buffers
from lamina_ceph.errors import LOST, StaleHandle, checked, checked_handle, fail
from lamina_ceph.files import Opened
from lamina_ceph.library import KEEP_SIZE, PUNCH_HOLE, SET_SIZE, Flock, Statx
from lamina_ceph.mount import Mount
from lamina_ceph.share import CephShare

_LARGEST: Final = 2**63 - 1
_F_RDLCK, _F_WRLCK, _F_UNLCK = 0, 1, 2
_LOCKS: Final = {RangeLock.NONE: _F_UNLCK, RangeLock.SHARED: _F_RDLCK, RangeLock.EXCLUSIVE: _F_WRLCK}


class CephData(CephShare):
    """The part of `ceph` that moves data, and locks ranges of it."""

    _buffers: Buffers

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`; what lies beyond the largest offset is beyond the end."""
        if offset > _LARGEST - len(buffer):
            return 0
        mine = self._buffers.take(len(buffer))
        count = self._of(handle, _read, mine.address, len(buffer), offset)
        buffer[:count] = mine.view[:count]
        self._buffers.give(mine)
        return count

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data`."""
        length = len(data)
        if offset > _LARGEST - length:
            fail(errno.EFBIG)
        mine = self._buffers.take(length)
        mine.view[:length] = data
        self._of(handle, _write, mine.address, length, offset)
        self._buffers.give(mine)
        return length

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Wait until the cluster has everything."""
        self._of(handle, _sync, data_only)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file."""
        if length > _LARGEST:
            fail(errno.EFBIG)
        self._of(handle, _truncate, length)

    def fallocate(self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int) -> None:
        """CephFS reserves nothing; but it says where a quota or the space would be exceeded."""
        self._of(handle, _allocate, KEEP_SIZE, offset, length)

    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """Punch a hole, whether its space is to be given back or not: nothing was reserved."""
        self._of(handle, _allocate, KEEP_SIZE | PUNCH_HOLE, offset, length)

    def set_range_lock(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, kind: RangeLock
    ) -> None:
        """Lock a range for this handle, against all clients of CephFS."""
        if not self.options.posix_locking:
            fail(errno.ENOTSUP)
        if offset > _LARGEST or not length:
            return
        self._of(handle, _lock, offset, 0 if offset + length > _LARGEST else length, kind, again=False)


def _data_of(opened: Opened, wanted: Access) -> int:
    if opened.is_directory:
        fail(errno.EISDIR)
    if not opened.access & wanted:
        fail(errno.EBADF)
    return opened.fh


def _read(mount: Mount, opened: Opened, address: int, length: int, offset: int) -> int:
    fh, done = _data_of(opened, Access.READ), 0
    while done < length:
        more = checked_handle(
            mount.library.ceph_ll_read(mount.pointer, fh, offset + done, length - done, address + done)
        )
        if not more:
            break
        done += more
    return done


def _write(mount: Mount, opened: Opened, address: int, length: int, offset: int) -> None:
    fh, done = _data_of(opened, Access.WRITE), 0
    opened.count_write()
    try:
        while done < length:
            done += checked_handle(
                mount.library.ceph_ll_write(mount.pointer, fh, offset + done, length - done, address + done)
            )
    except OSError as error:
        if not done and (isinstance(error, StaleHandle) or error.errno in LOST):
            opened.uncount_write()
        raise
    if opened.stable:
        _sync(mount, opened, True)


def _sync(mount: Mount, opened: Opened, data_only: bool) -> None:
    written = opened.written
    if opened.fh:
        checked_handle(mount.library.ceph_ll_fsync(mount.pointer, opened.fh, data_only))
    else:
        checked(mount.library.ceph_ll_sync_inode(mount.pointer, opened.inode, data_only))
    with opened.lock:
        opened.safe = max(opened.safe, written)


def _truncate(mount: Mount, opened: Opened, length: int) -> None:
    _data_of(opened, Access.WRITE)
    raw = Statx(size=length)
    # Who has the file open for writing may cut it, whatever its mode has become.
    checked(mount.library.ceph_ll_setattr(mount.pointer, opened.inode, byref(raw), SET_SIZE, mount.server.pointer))


def _allocate(mount: Mount, opened: Opened, how: int, offset: int, length: int) -> None:
    fh = _data_of(opened, Access.WRITE)
    if offset + length > _LARGEST:
        fail(errno.EFBIG)
    if length:
        checked_handle(mount.library.ceph_ll_fallocate(mount.pointer, fh, how, offset, length))


def _lock(mount: Mount, opened: Opened, offset: int, length: int, kind: RangeLock) -> None:
    if not opened.fh:
        fail(errno.EBADF)
    lock = Flock(kind=_LOCKS[kind], start=offset, length=length)
    # The handle of the library is the owner: a number that no other open file of this client has.
    checked_handle(mount.library.ceph_ll_setlk(mount.pointer, opened.fh, byref(lock), opened.fh, 0))
