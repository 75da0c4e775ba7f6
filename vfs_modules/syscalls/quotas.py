"""Quotas of a file system: quotactl_fd(2), which Linux has since 5.14, on a descriptor of any of its files.

Limits are given in units of 1024 bytes, which file systems may round up to their own, the space that is used in bytes
(quotactl(2), struct if_dqblk).
"""

import ctypes
import errno
import struct

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.token import ImpersonationToken

_QUOTACTL_FD = 443  # the same number on every architecture
_Q_GETFMT, _Q_GETQUOTA, _Q_SETQUOTA, _Q_GETNEXTQUOTA = 0x800004, 0x800007, 0x800008, 0x800009
_SUBCOMMAND_SHIFT = 8
_UNIT = 1024
_ONLY_LIMITS_OF_SPACE = 1  # QIF_BLIMITS
# Hard limit, soft limit, space; the same for inodes; times of grace; which are valid; and whose (Q_GETNEXTQUOTA).
_ENTRY = struct.Struct("=8QII")
_NOT_HERE = frozenset({errno.ESRCH, errno.ENOSYS, errno.ENOTTY, errno.ENOTBLK, errno.EINVAL, errno.EOPNOTSUPP})

_call = libc.quotactl


def _quotactl(fd: int, command: int, kind: QuotaKind, number: int, entry: "ctypes.Array[ctypes.c_char]") -> None:
    if _call(_QUOTACTL_FD, fd, command << _SUBCOMMAND_SHIFT | kind.value, number, entry) != 0:
        libc.fail()


def _decoded(kind: QuotaKind, entry: "ctypes.Array[ctypes.c_char]", number: int | None = None) -> Quota:
    hard, soft, used, *_, found = _ENTRY.unpack(entry.raw)
    return Quota(kind, found if number is None else number, used, soft * _UNIT or None, hard * _UNIT or None)


def has_quotas(token: ImpersonationToken, fd: int) -> bool:
    """Whether the file system of a descriptor counts what its users have."""
    try:
        get_quota(token, fd, QuotaKind.USER, 0)
    except OSError:
        return False
    return True


def get_quota(token: ImpersonationToken, fd: int, kind: QuotaKind, number: int) -> Quota:
    """The entry of a user or group; zeros where there is none. ENOTSUP where the file system does not count."""
    assume(token)
    entry = ctypes.create_string_buffer(_ENTRY.size)
    try:
        _quotactl(fd, _Q_GETQUOTA, kind, number, entry)
    except FileNotFoundError:
        return Quota(kind, number, 0)  # XFS has entries for those alone who have or had something
    except OSError as error:
        raise _unsupported(error) from error
    return _decoded(kind, entry, number)


def set_quota(token: ImpersonationToken, fd: int, quota: Quota) -> None:
    """Set the limits of an entry; what is used does not count. A limit that is no whole unit is rounded up."""
    assume(token)
    hard, soft = (0 if limit is None else max(1, -(-limit // _UNIT)) for limit in (quota.hard, quota.soft))
    packed = _ENTRY.pack(hard, soft, 0, 0, 0, 0, 0, 0, _ONLY_LIMITS_OF_SPACE, 0)
    entry = ctypes.create_string_buffer(packed, _ENTRY.size)
    try:
        _quotactl(fd, _Q_SETQUOTA, quota.kind, quota.number, entry)
    except OSError as error:
        raise _unsupported(error) from error


def next_quota(token: ImpersonationToken, fd: int, kind: QuotaKind, number: int) -> Quota | None:
    """The first entry of this number or a higher one, None where there is no more."""
    assume(token)
    entry = ctypes.create_string_buffer(_ENTRY.size)
    try:
        _quotactl(fd, _Q_GETNEXTQUOTA, kind, number, entry)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ESRCH}:
            return None
        raise _unsupported(error) from error
    return _decoded(kind, entry)


def _unsupported(error: OSError) -> OSError:
    return OSError(errno.ENOTSUP, "quotas are not kept here") if error.errno in _NOT_HERE else error
