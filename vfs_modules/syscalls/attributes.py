"""What is kept beside a file's data: status, times, mode, owner and extended attributes.

Each call takes the token first. Calls on a descriptor take `by_path` where the descriptor was opened with O_PATH: the
kernel refuses most of them on such a one, and they go through /proc/self/fd instead, which names the same file.
"""

import contextlib
import fcntl
import os
import struct

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.operations import FileStat, VolumeStatistics
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

# struct statx (statx(2)): mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks, attributes_mask, then
# four times of (seconds, nanoseconds, padding), rdev and dev as (major, minor).
_STATX = struct.Struct("=I4xQIIIH2xQQQ8xqI4xqI4xqI4xqI4x8xII")
_unpack_statx = _STATX.unpack_from
_statx = libc.statx
_new = tuple.__new__
_STATX_BASIC_AND_BTIME = 0xFFF
# What statx said lately, in the kernel's words: 800 bytes each.
_seen: dict[bytes, FileStat] = {}
_MOST_SEEN = 1024
_STATX_BTIME = 0x800
_TIMESPECS = struct.Struct("=qqqq")
_UTIME_OMIT = (1 << 30) - 2
_KEEP_SIZE = 1

_NETWORK_TYPES = frozenset(
    {
        0x6969,  # NFS
        0x517B,  # SMB1
        0xFE534D42,  # SMB2
        0xFF534D42,  # CIFS
        0x65735546,  # FUSE
        0x00C36400,  # Ceph
        0x01021997,  # 9p
        0x5346414F,  # AFS
        0x6B414653,  # kAFS
        0x73757245,  # Coda
        0x0BD00BD0,  # Lustre
        0x47504653,  # GPFS
        0x01161970,  # GFS2
        0x7461636F,  # OCFS2
    }
)
_TMPFS = 0x01021994
# ext2 to ext4, XFS, Btrfs. F2FS long stamped no file whose extended attributes were changed.
_STAMPING_TYPES = frozenset({0xEF53, 0x58465342, 0x9123683E})
_TMPFS_STAMPS_FROM = (6, 6)
_MEMORY_TYPES = frozenset({0x01021994, 0x858458F6, 0x958458F6})  # tmpfs, ramfs, hugetlbfs


def proc_path(fd: int) -> bytes:
    """A path that names exactly the file of a descriptor, also when it was renamed or is a symbolic link."""
    return b"/proc/self/fd/%d" % fd


def stat_in(buffer: bytes | bytearray) -> FileStat:
    """The status that statx has left in `buffer`."""
    (
        mask, attributes, nlink, uid, gid, mode, ino, size, blocks,
        atime, atime_ns, btime, btime_ns, ctime, ctime_ns, mtime, mtime_ns, major, minor,
    ) = _unpack_statx(buffer)  # fmt: skip
    # The tuple's own constructor: the one of the named tuple would cost as much as the system call.
    return _new(
        FileStat,
        (
            major << 32 | minor, ino, mode, nlink, uid, gid, size, blocks << 9,
            atime * 1_000_000_000 + atime_ns,
            mtime * 1_000_000_000 + mtime_ns,
            ctime * 1_000_000_000 + ctime_ns,
            btime * 1_000_000_000 + btime_ns if mask & _STATX_BTIME else None,
            attributes & 4 != 0,  # STATX_ATTR_COMPRESSED
        ),
    )  # fmt: skip


def statx(token: ImpersonationToken, directory: int, name: bytes) -> FileStat:
    """Look at one component of a directory, not following a link. b"" is the descriptor's own file."""
    assume(token)
    buffer, address = libc.buffers.statx
    flags = libc.AT_SYMLINK_NOFOLLOW if name else libc.AT_EMPTY_PATH
    if libc.statx(directory, name, flags, _STATX_BASIC_AND_BTIME, address):
        libc.fail(name)
    return stat_in(buffer)


def fstatx(fd: int) -> FileStat:
    """Look at the file of a descriptor, O_PATH or not; no permission is needed.

    While nothing of the status has changed it is the same object: a file is looked at several times in a row.
    """
    buffer, address = libc.buffers.statx
    if _statx(fd, b"", 0x1000, 0xFFF, address):  # AT_EMPTY_PATH, all fields
        libc.fail()
    raw = bytes(buffer)
    return _seen.get(raw) or _see(raw)


def _see(raw: bytes) -> FileStat:
    if len(_seen) >= _MOST_SEEN:
        _seen.clear()
    stat = _seen[raw] = stat_in(raw)
    return stat


def statvfs(token: ImpersonationToken, fd: int) -> VolumeStatistics:
    """Sizes of the file system that a descriptor is on, in bytes."""
    assume(token)
    sizes = os.fstatvfs(fd)
    unit = sizes.f_frsize or sizes.f_bsize
    return VolumeStatistics(
        unit,
        sizes.f_blocks * unit,
        sizes.f_bfree * unit,
        sizes.f_bavail * unit,
        sizes.f_fsid & 0xFFFFFFFFFFFFFFFF,
        sizes.f_files or None,
        sizes.f_ffree if sizes.f_files else None,
    )


def filesystem_type(fd: int) -> int:
    """The magic number of the file system that a descriptor is on (statfs(2))."""
    # struct statfs is at most 120 bytes, so the buffer of statx has room for it; f_type comes first.
    buffer, address = libc.buffers.statx
    if libc.fstatfs(fd, address) != 0:
        libc.fail()
    return int(struct.unpack_from("=q", buffer)[0]) & 0xFFFFFFFF


def is_network(fd: int) -> bool:
    """Whether any call on this file system, also for metadata, may have to ask another machine or process."""
    return filesystem_type(fd) in _NETWORK_TYPES


def is_memory(fd: int) -> bool:
    """Whether this file system's data is always in memory."""
    return filesystem_type(fd) in _MEMORY_TYPES


def stamps_attributes(fd: int) -> bool:
    """Whether a file's status change time tells that an extended attribute of it was changed, as far as is known."""
    kind = filesystem_type(fd)
    return kind in _STAMPING_TYPES or (kind == _TMPFS and _kernel_version() >= _TMPFS_STAMPS_FROM)


def _kernel_version() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdecimal, minor)) or 0)


def set_times(token: ImpersonationToken, fd: int, access_ns: int | None, write_ns: int | None) -> None:
    """Set last access and last write; None leaves one alone."""
    assume(token)
    times = _TIMESPECS.pack(*_timespec(access_ns), *_timespec(write_ns))
    if libc.utimensat(fd, b"", times, libc.AT_EMPTY_PATH) != 0:
        libc.fail()


def keep_access_time(fd: int) -> None:
    """Let reading through a descriptor leave the access time alone, as far as the server may say so.

    The kernel lets the owner of the file, and root, ask for that.
    """
    assume(SERVER_TOKEN)
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NOATIME)


def _timespec(ns: int | None) -> tuple[int, int]:
    return (0, _UTIME_OMIT) if ns is None else divmod(ns, 1_000_000_000)


def fchmod(token: ImpersonationToken, fd: int, mode: int, by_path: bool) -> None:
    """Set the permission bits."""
    assume(token)
    os.chmod(proc_path(fd) if by_path else fd, mode)


def fchown(token: ImpersonationToken, fd: int, uid: int, gid: int, by_path: bool) -> None:
    """Set owner and group; -1 leaves one alone."""
    assume(token)
    os.chown(proc_path(fd) if by_path else fd, uid, gid)


def fallocate(token: ImpersonationToken, fd: int, offset: int, length: int) -> None:
    """Reserve space without changing the size."""
    assume(token)
    if libc.fallocate(fd, _KEEP_SIZE, offset, length) != 0:
        libc.fail()
