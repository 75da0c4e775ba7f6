"""The low-level calls of libcephfs, and the structures that they take, through ctypes.

ctypes rather than a compiled binding: it needs neither a compiler nor headers where this is installed, it lets go of
the interpreter's lock during a call, and its 0.3 µs a call (cffi: 0.2) are nothing beside the 50 µs of a thread's turn.
What is here follows `cephfs/libcephfs.h` and `cephfs/ceph_ll_client.h`; a test compares the layouts with the header.
"""

import ctypes
import errno
import functools
import struct
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any, Final

NAME: Final = "libcephfs.so.2"

NOSNAP: Final = 2**64 - 2
"""The snapshot id of what is no snapshot (CEPH_NOSNAP)."""

WANT: Final = 0x00000FFF
"""All that a stat is asked for (CEPH_STATX_BASIC_STATS | CEPH_STATX_BTIME)."""

NOFOLLOW: Final = 0x100
"""AT_SYMLINK_NOFOLLOW."""

SET_MODE, SET_UID, SET_GID, SET_MTIME, SET_ATIME, SET_SIZE = (1 << bit for bit in range(6))
"""CEPH_SETATTR_*."""

KEEP_SIZE: Final = 0x01
PUNCH_HOLE: Final = 0x02
RECLAIM_RESET: Final = 1


class Timespec(ctypes.Structure):
    """struct timespec."""

    _fields_ = (("seconds", c_int64), ("nanoseconds", c_int64))


class Statx(ctypes.Structure):
    """struct ceph_statx."""

    _fields_ = (
        *((name, c_uint32) for name in ("mask", "blksize", "nlink", "uid", "gid")),
        ("mode", ctypes.c_uint16),
        *((name, c_uint64) for name in ("ino", "size", "blocks", "dev", "rdev")),
        *((name, Timespec) for name in ("atime", "ctime", "mtime", "btime")),
        ("version", c_uint64),
    )


STATX: Final = struct.Struct("=5IH2x5Q8qQ")
"""The same as numbers, in that order: one call instead of one for each."""


class Dirent(ctypes.Structure):
    """struct dirent."""

    _fields_ = (
        ("ino", c_uint64),
        ("offset", c_int64),
        ("length", ctypes.c_uint16),
        ("kind", ctypes.c_uint8),
        ("name", ctypes.c_char * 256),
    )


class Statvfs(ctypes.Structure):
    """struct statvfs."""

    _fields_ = (
        *((name, ctypes.c_ulong) for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree")),
        *((name, ctypes.c_ulong) for name in ("favail", "fsid", "flag", "namemax")),
        ("spare", c_int * 6),
    )


class Flock(ctypes.Structure):
    """struct flock."""

    _fields_ = (
        ("kind", ctypes.c_short),
        ("whence", ctypes.c_short),
        ("start", c_int64),
        ("length", c_int64),
        ("pid", c_int),
    )


class Vinode(ctypes.Structure):
    """vinodeno_t: an inode and the snapshot that it is in."""

    _fields_ = (("ino", c_uint64), ("snapshot", c_uint64))


_OUT = POINTER(c_void_p)
_STATX = POINTER(Statx)
_MOUNT = _INODE = _FH = _PERM = _DIR = c_void_p

PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    # The result, and the arguments.
    "ceph_create": (c_int, _OUT, c_char_p),
    "ceph_conf_read_file": (c_int, _MOUNT, c_char_p),
    "ceph_conf_set": (c_int, _MOUNT, c_char_p, c_char_p),
    "ceph_conf_get": (c_int, _MOUNT, c_char_p, c_char_p, c_size_t),
    "ceph_init": (c_int, _MOUNT),
    "ceph_select_filesystem": (c_int, _MOUNT, c_char_p),
    "ceph_mount": (c_int, _MOUNT, c_char_p),
    "ceph_unmount": (c_int, _MOUNT),
    "ceph_abort_conn": (c_int, _MOUNT),
    "ceph_sync_fs": (c_int, _MOUNT),
    "ceph_release": (c_int, _MOUNT),
    "ceph_getaddrs": (c_int, _MOUNT, _OUT),
    "ceph_buffer_free": (None, c_void_p),
    "ceph_get_fs_cid": (c_int64, _MOUNT),
    "ceph_set_uuid": (None, _MOUNT, c_char_p),
    "ceph_start_reclaim": (c_int, _MOUNT, c_char_p, c_uint),
    "ceph_finish_reclaim": (None, _MOUNT),
    "ceph_userperm_new": (c_void_p, c_uint32, c_uint32, c_int, POINTER(c_uint32)),
    "ceph_userperm_destroy": (None, _PERM),
    "ceph_readdirplus_r": (c_int, _MOUNT, _DIR, POINTER(Dirent), _STATX, c_uint, c_uint, _OUT),
    "ceph_ll_lookup_vino": (c_int, _MOUNT, Vinode, _OUT),
    "ceph_ll_lookup_root": (c_int, _MOUNT, _OUT),
    "ceph_ll_lookup": (c_int, _MOUNT, _INODE, c_char_p, _OUT, _STATX, c_uint, c_uint, _PERM),
    "ceph_ll_put": (c_int, _MOUNT, _INODE),
    "ceph_ll_getattr": (c_int, _MOUNT, _INODE, _STATX, c_uint, c_uint, _PERM),
    "ceph_ll_setattr": (c_int, _MOUNT, _INODE, _STATX, c_int, _PERM),
    "ceph_ll_open": (c_int, _MOUNT, _INODE, c_int, _OUT, _PERM),
    "ceph_ll_read": (c_int, _MOUNT, _FH, c_int64, c_uint64, c_void_p),
    "ceph_ll_write": (c_int, _MOUNT, _FH, c_int64, c_uint64, c_void_p),
    "ceph_ll_fsync": (c_int, _MOUNT, _FH, c_int),
    "ceph_ll_sync_inode": (c_int, _MOUNT, _INODE, c_int),
    "ceph_ll_fallocate": (c_int, _MOUNT, _FH, c_int, c_int64, c_int64),
    "ceph_ll_close": (c_int, _MOUNT, _FH),
    "ceph_ll_getxattr": (c_int, _MOUNT, _INODE, c_char_p, c_void_p, c_size_t, _PERM),
    "ceph_ll_setxattr": (c_int, _MOUNT, _INODE, c_char_p, c_char_p, c_size_t, c_int, _PERM),
    "ceph_ll_listxattr": (c_int, _MOUNT, _INODE, c_void_p, c_size_t, POINTER(c_size_t), _PERM),
    "ceph_ll_removexattr": (c_int, _MOUNT, _INODE, c_char_p, _PERM),
    "ceph_ll_create": (
        *(c_int, _MOUNT, _INODE, c_char_p, c_uint, c_int, _OUT, _OUT, _STATX, c_uint, c_uint),
        _PERM,
    ),
    "ceph_ll_mkdir": (c_int, _MOUNT, _INODE, c_char_p, c_uint, _OUT, _STATX, c_uint, c_uint, _PERM),
    "ceph_ll_link": (c_int, _MOUNT, _INODE, _INODE, c_char_p, _PERM),
    "ceph_ll_opendir": (c_int, _MOUNT, _INODE, _OUT, _PERM),
    "ceph_ll_releasedir": (c_int, _MOUNT, _DIR),
    "ceph_ll_rename": (c_int, _MOUNT, _INODE, c_char_p, _INODE, c_char_p, _PERM),
    "ceph_ll_unlink": (c_int, _MOUNT, _INODE, c_char_p, _PERM),
    "ceph_ll_rmdir": (c_int, _MOUNT, _INODE, c_char_p, _PERM),
    "ceph_ll_statfs": (c_int, _MOUNT, _INODE, POINTER(Statvfs)),
    "ceph_ll_readlink": (c_int, _MOUNT, _INODE, c_void_p, c_size_t, _PERM),
    "ceph_ll_symlink": (c_int, _MOUNT, _INODE, c_char_p, c_char_p, _OUT, _STATX, c_uint, c_uint, _PERM),
    "ceph_ll_setlk": (c_int, _MOUNT, _FH, POINTER(Flock), c_uint64, c_int),
}
"""The functions that are called, all of them in Ceph 14 and later."""


@functools.cache
def library() -> Any:
    """The library, its functions with their types. Raises OSError (ENOPKG) that says what to install."""
    try:
        loaded = ctypes.CDLL(NAME)
        for name, (result, *arguments) in PROTOTYPES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise OSError(errno.ENOPKG, f"{error}; install libcephfs2 (Debian: apt-get install libcephfs2)") from error
    return loaded
