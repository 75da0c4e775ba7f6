"""How AFP and SMB servers tell each other which files are open, and how they are shared: by locks on single bytes.

Netatalk, and Samba with fruit:locking, lock bytes near the largest offset that a file can have, for reading: one for
each way that somebody has the file open, and one for each that he denies to others. Who opens a file looks whether
others have locked the bytes that say the opposite. Resource forks have bytes of their own.
"""

import errno
import os
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, OpenHow, Operations
from lamina.vfs_modules.outside import RangeLock
from lamina.vfs_modules.token import SERVER_TOKEN

_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ETXTBSY})
_BASE: Final = 0x7FFFFFFFFFFFFFFF - 9
_OPEN: Final = 0
_DENY: Final = 4
_OF_FORK: Final = 2
_WRITE, _READ = 0, 1

_FILE_READ_DATA: Final = 0x1 | 0x20
_FILE_WRITE_DATA: Final = 0x2 | 0x4
_SHARE_READ: Final = 0x1
_SHARE_WRITE: Final = 0x2


def bytes_for(access: int, share: int, is_fork: bool) -> tuple[list[int], list[int]]:
    """The bytes to look at, and those to lock, for an open with these rights and share mode (MS-SMB2 2.2.13)."""
    first = _BASE + (_OF_FORK if is_fork else 0)
    looked_at, locked = [], []
    for right, shared, way in ((_FILE_READ_DATA, _SHARE_READ, _READ), (_FILE_WRITE_DATA, _SHARE_WRITE, _WRITE)):
        if access & right:
            looked_at.append(first + _DENY + way)
            locked.append(first + _OPEN + way)
            if not share & shared:
                looked_at.append(first + _OPEN + way)
                locked.append(first + _DENY + way)
    return looked_at, locked


class AfpLocks:
    """Locks such bytes of the files beneath `root`, in the chain `below`."""

    def __init__(self, below: Operations, root: VfsHandle) -> None:
        self._below = below
        self._root = root

    def open(self, path: str, access: int, share: int, is_fork: bool) -> VfsHandle | None:
        """Tell others of an open; the handle that keeps them told, None where there is nothing to tell.

        EBUSY where another has the file open in a way that does not suit it.
        """
        looked_at, locked = bytes_for(access, share, is_fork)
        if not locked:
            return None
        handle = self._opened(path)
        if handle is None:
            return None
        try:
            for byte in looked_at:
                self._lock(handle, byte, RangeLock.EXCLUSIVE)
                self._lock(handle, byte, RangeLock.NONE)
            for byte in locked:
                self._lock(handle, byte, RangeLock.SHARED)
        except OSError as error:
            self._below.close(SERVER_TOKEN, handle)
            if error.errno != errno.EAGAIN:
                raise
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path) from error
        return handle

    def _opened(self, path: str) -> VfsHandle | None:
        # Where the server may only read, it learns of those alone who let nobody else in.
        for access in (Access.READ_WRITE, Access.READ):
            try:
                return self._below.open(SERVER_TOKEN, self._root, path, OpenHow(access))
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
        return None

    def _lock(self, handle: VfsHandle, byte: int, kind: RangeLock) -> None:
        self._below.set_range_lock(SERVER_TOKEN, handle, byte, 1, kind)

    def close(self, handle: VfsHandle) -> None:
        """The open is closed."""
        self._below.close(SERVER_TOKEN, handle)
