"""Impersonating system calls: the only place where Lamina's modules touch a path.

Every call takes the token first and is made with its credentials; every path is relative to a directory's descriptor
and cannot lead out of it. Calls on descriptors alone (`os.preadv`, `os.close`) need no credentials and are not here.
"""

from lamina.vfs_modules.syscalls.attributes import (
    fallocate,
    fchmod,
    fchown,
    filesystem_type,
    fstatx,
    is_memory,
    is_network,
    keep_access_time,
    proc_path,
    set_times,
    stamps_attributes,
    statvfs,
    statx,
)
from lamina.vfs_modules.syscalls.leases import forget_lease, lease_break_seconds, set_lease
from lamina.vfs_modules.syscalls.listing import list_entries, xattrs_in
from lamina.vfs_modules.syscalls.paths import (
    linkat,
    list_names,
    mkdirat,
    open_component,
    open_directory,
    openat,
    path_of,
    readlinkat,
    renameat,
    reopen,
    rmdirat,
    statat,
    symlinkat,
    unlinkat,
)
from lamina.vfs_modules.syscalls.quotas import get_quota, has_quotas, next_quota, set_quota
from lamina.vfs_modules.syscalls.range_locks import is_locked, set_range
from lamina.vfs_modules.syscalls.ranges import (
    FileFeatures,
    clone_range,
    copy_range,
    data_ranges,
    probe_features,
    set_compressed,
    zero_range,
)
from lamina.vfs_modules.syscalls.xattrs import find_xattr, getxattr, listxattr, removexattr, setxattr

__all__ = [
    "FileFeatures",
    "clone_range",
    "copy_range",
    "data_ranges",
    "fallocate",
    "fchmod",
    "fchown",
    "filesystem_type",
    "find_xattr",
    "forget_lease",
    "fstatx",
    "get_quota",
    "getxattr",
    "has_quotas",
    "is_locked",
    "is_memory",
    "is_network",
    "keep_access_time",
    "lease_break_seconds",
    "linkat",
    "list_entries",
    "list_names",
    "listxattr",
    "mkdirat",
    "next_quota",
    "open_component",
    "open_directory",
    "openat",
    "path_of",
    "probe_features",
    "proc_path",
    "readlinkat",
    "removexattr",
    "renameat",
    "reopen",
    "rmdirat",
    "set_compressed",
    "set_lease",
    "set_quota",
    "set_range",
    "set_times",
    "setxattr",
    "stamps_attributes",
    "statat",
    "statvfs",
    "statx",
    "symlinkat",
    "unlinkat",
    "xattrs_in",
    "zero_range",
]
