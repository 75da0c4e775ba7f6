"""Calls on ranges of a file's data: copying and sharing blocks, zeroing, finding what is allocated; compression.

All of them are on descriptors that were opened for the access they need. What a file system can do of this is found
out by trying it on a file that has no name.
"""

import errno
import fcntl
import os
import struct
from typing import NamedTuple

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.syscalls.attributes import filesystem_type, proc_path
from lamina.vfs_modules.token import ImpersonationToken

_FICLONERANGE = 0x4020940D
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602
_CLONE = struct.Struct("=qQQQ")
_FLAGS = struct.Struct("=L4x")
_COMPRESS = 0x4  # FS_COMPR_FL
_DO_NOT_COMPRESS = 0x400  # FS_NOCOMP_FL
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 0x1, 0x2, 0x10
_BLOCK = 4096
_BTRFS, _F2FS, _XFS, _EXT4, _TMPFS = 0x9123683E, 0xF2F52010, 0x58465342, 0xEF53, 0x01021994
# Others (ext4) keep the flag for compression as well, and do nothing about it.
_COMPRESSING = frozenset({_BTRFS, _F2FS})

# copy_file_range between these two is not to be had: other file systems, kinds of file or kernels.
_CANNOT_COPY = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.ETXTBSY, errno.EBADF, errno.EPERM})


class FileFeatures(NamedTuple):
    """What the files of a file system can do."""

    holes: bool
    clones: bool
    compression: bool


def copy_range(source: int, source_offset: int, target: int, target_offset: int, length: int) -> int:
    """Copy within the kernel; the bytes copied, fewer at the end of the source. ENOTSUP where that is not possible."""
    copied = 0
    while copied < length:
        try:
            count = os.copy_file_range(source, target, length - copied, source_offset + copied, target_offset + copied)
        except OSError as error:
            if error.errno not in _CANNOT_COPY or copied:
                raise
            raise OSError(errno.ENOTSUP, "the kernel does not copy between these files") from error
        if not count:
            break
        copied += count
    return copied


def clone_range(source: int, source_offset: int, target: int, target_offset: int, length: int) -> None:
    """Share blocks (ioctl_ficlonerange(2))."""
    fcntl.ioctl(target, _FICLONERANGE, _CLONE.pack(source, source_offset, length, target_offset))


def zero_range(fd: int, offset: int, length: int, deallocate: bool) -> None:
    """Let a range read as zeros; the size stays. ENOTSUP where the file system has no such call."""
    if libc.fallocate(fd, (_PUNCH_HOLE if deallocate else _ZERO_RANGE) | _KEEP_SIZE, offset, length) != 0:
        libc.fail()


def data_ranges(fd: int, offset: int, length: int, limit: int) -> list[tuple[int, int]]:
    """What is not a hole in a range, as (offset, length), at most `limit` pieces."""
    found: list[tuple[int, int]] = []
    position, end = offset, min(offset + length, os.fstat(fd).st_size)
    while position < end and len(found) < limit:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                break
            raise
        if start >= end:
            break
        position = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        found.append((start, position - start))
    return found


def set_compressed(token: ImpersonationToken, fd: int, compressed: bool, by_path: bool) -> None:
    """Have data kept compressed or not. A descriptor of O_PATH is opened for it with the token's rights."""
    assume(token)
    own = os.open(proc_path(fd), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if by_path else fd
    try:
        _set_flag(own, compressed)
    finally:
        if by_path:
            os.close(own)


def _set_flag(fd: int, compressed: bool) -> None:
    (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GETFLAGS, bytes(_FLAGS.size)))
    flags &= ~(_COMPRESS | _DO_NOT_COMPRESS)
    fcntl.ioctl(fd, _SETFLAGS, _FLAGS.pack(flags | _COMPRESS if compressed else flags))


def probe_features(token: ImpersonationToken, directory: int) -> FileFeatures:
    """What files in a directory can do, tried on files without a name; where none can be made, by the file system."""
    assume(token)
    kind = filesystem_type(directory)
    try:
        first = os.open(proc_path(directory), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return FileFeatures(kind in {_BTRFS, _XFS, _EXT4, _TMPFS}, kind == _BTRFS, kind == _BTRFS)
    try:
        os.ftruncate(first, 2 * _BLOCK)
        return FileFeatures(_punches(first), _clones(directory, first), kind in _COMPRESSING and _compresses(first))
    except OSError:
        return FileFeatures(False, False, False)
    finally:
        os.close(first)


def _punches(fd: int) -> bool:
    try:
        zero_range(fd, 0, _BLOCK, True)
    except OSError:
        return False
    return True


def _clones(directory: int, source: int) -> bool:
    target = os.open(proc_path(directory), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        clone_range(source, _BLOCK, target, 0, _BLOCK)
    except OSError:
        return False
    finally:
        os.close(target)
    return True


def _compresses(fd: int) -> bool:
    try:
        _set_flag(fd, True)
        (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GETFLAGS, bytes(_FLAGS.size)))
    except OSError:
        return False
    return bool(flags & _COMPRESS)
