"""Byte-range locks that other programs see: open file description locks (fcntl(2), F_OFD_SETLK).

They belong to the open file, as those of SMB belong to the open, and not to the process, whose other descriptors of the
file could otherwise lose them. No call here waits.
"""

import errno
import fcntl
import os
from struct import Struct
from typing import Final

_FLOCK = Struct("hhqqi4x")  # struct flock on 64-bit machines: type, whence, start, length, process
_GET: Final = fcntl.F_OFD_GETLK
_SET: Final = fcntl.F_OFD_SETLK
_KINDS: Final = (fcntl.F_UNLCK, fcntl.F_RDLCK, fcntl.F_WRLCK)
_LIMIT: Final = 1 << 63


def set_range(fd: int, offset: int, length: int, kind: int) -> None:
    """Have a range unlocked (0), locked for reading (1) or for writing (2), whatever this open file had there.

    EAGAIN where another open file has a lock in the way. What the kernel cannot express is left out: ranges without
    bytes, bytes from 2^63 on, and a lock for reading where the file is not open for that. Where it is not open for
    writing, a lock for writing becomes one for reading.
    """
    if not length or offset >= _LIMIT:
        return
    mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE if kind else os.O_RDWR
    if mode == os.O_RDONLY:
        kind = 1
    elif mode == os.O_WRONLY and kind == 1:
        return
    try:
        fcntl.fcntl(fd, _SET, _FLOCK.pack(_KINDS[kind], os.SEEK_SET, offset, _mapped(offset, length), 0))
    except OSError as error:
        # The two say the same (fcntl(2)).
        number = errno.EAGAIN if error.errno == errno.EACCES else error.errno
        raise OSError(number, error.strerror) from error


def is_locked(fd: int, offset: int, length: int, for_writing: bool) -> bool:
    """Whether another open file has a lock in the way of reading or writing the range."""
    if not length or offset >= _LIMIT:
        return False
    asked = _FLOCK.pack(_KINDS[2 if for_writing else 1], os.SEEK_SET, offset, _mapped(offset, length), 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(fd, _GET, asked))[0] != fcntl.F_UNLCK)


def _mapped(offset: int, length: int) -> int:
    # No length is as far as there are bytes.
    return 0 if offset + length >= _LIMIT else length
