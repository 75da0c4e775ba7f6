"""The operation specification, version 1: every operation a module may implement, declared once.

`Operations` is the whole contract of the file-system level. Everything else is derived from it: the
checks at registration, the compiled chain, the groups of audit, the reference pages and the conformance kit.

Rules that hold for every operation:

* The first argument is the token of whom it is done for; the second says on what (a handle).
* A *name* or *path* is a `str` relative to a directory handle, with "/" between components, never
  absolute, never "." or "..": ntfsa has validated it. Characters that UTF-8 cannot hold are passed as
  surrogates (bytes that are not UTF-8 as U+DC80..U+DCFF, PEP 383); the backend encodes.
* Resolution never leaves the share's root, whatever symbolic links say.
* A failure is an `OSError` with its errno; `None` is an ordinary result. `ENOTSUP` says "not here".
* Times are nanoseconds since 1970-01-01 UTC; sizes and offsets are bytes.
* Any operation may wait (`engine.wait`, `engine.offload`) unless it is marked `waits=False`.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, Flag, IntEnum, auto
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.outside import FileLease, LeaseBroken, RangeLock
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.token import ImpersonationToken

API_VERSION = (1, 0)
"""The version of this specification. Operations are only ever appended, with a default, in a minor version."""


class Target(Enum):
    """What an operation acts on, which decides how audit, faults and the reference pages group it."""

    SHARE = auto()
    PATH = auto()
    HANDLE = auto()


class Access(IntEnum):
    """What a handle is opened for. PATH reaches the file's attributes but not its data."""

    PATH = 0
    READ = 1
    WRITE = 2
    READ_WRITE = 3


class Capability(Flag):
    """What a chain can do. A backend states what it has; modules above mask or add.

    The protocol layer advertises exactly these (MS-FSCC 2.5.1 FileFsAttributeInformation and the share's
    capabilities), so a capability that is claimed is a promise to clients. MODE_IGNORED is one to ntfsa: where it has
    granted access nobody below asks the mode of a file again, so descriptors need not be mapped to it. POSIX_ACLS is
    another: files have POSIX ACLs, as the extended attributes system.posix_acl_*, that are to be kept in step.
    """

    CASE_SENSITIVE = auto()
    HARD_LINKS = auto()
    SYMLINKS = auto()
    XATTRS = auto()
    DOS_ATTRIBUTES = auto()
    CREATION_TIME = auto()
    SECURITY = auto()
    STREAMS = auto()
    SPARSE = auto()
    REFLINK = auto()
    QUOTAS = auto()
    OBJECT_IDS = auto()
    SNAPSHOTS = auto()
    WATCH = auto()
    DURABLE_HANDLES = auto()
    PERSISTENT_HANDLES = auto()
    CONTINUOUS_AVAILABILITY = auto()
    MODE_IGNORED = auto()
    COMPRESSION = auto()
    CHANGE_TIME = auto()
    WATCH_CHANGES = auto()
    RANGE_LOCKS = auto()
    LEASES = auto()
    POSIX_ACLS = auto()


class FileStat(NamedTuple):
    """What statx says of a file. `btime_ns` is None where the file system keeps no birth time.

    `compressed`: the file system is to keep its data compressed, or that of new files in a directory.
    """

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    allocated: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int | None
    compressed: bool = False


class DosAttributes(NamedTuple):
    """What NT keeps beside POSIX: FILE_ATTRIBUTE_* bits (MS-FSCC 2.6), the creation time, and a change time.

    `attributes` holds only stored bits (READONLY, HIDDEN, SYSTEM, ARCHIVE, …), never DIRECTORY or NORMAL,
    which ntfsa derives from the type of the file. `creation_ns` is None where none is stored. `change_ns` is a change
    time that was set, as long as the file has not changed since, else None; only `set_times` sets it.
    """

    attributes: int
    creation_ns: int | None
    change_ns: int | None = None


class DirectoryEntry(NamedTuple):
    """One entry of a directory. `stat` and `dos` are filled where the reader asked and the backend can."""

    name: str
    stat: FileStat | None = None
    dos: DosAttributes | None = None


class VolumeStatistics(NamedTuple):
    """Sizes of the file system in bytes; `available` is what this token may still use.

    `files`, `free_files`: how many files it can hold, and how many more; None where nobody knows.
    """

    block_size: int
    total: int
    free: int
    available: int
    volume_id: int
    files: int | None = None
    free_files: int | None = None


class StreamEntry(NamedTuple):
    """A named stream of a file or directory: its name without ":" and type, and its sizes in bytes."""

    name: str
    size: int
    allocated: int


class Times(NamedTuple):
    """Times to set, in nanoseconds; None leaves a time alone."""

    access_ns: int | None = None
    write_ns: int | None = None
    change_ns: int | None = None
    creation_ns: int | None = None


@dataclass(frozen=True, slots=True)
class OpenHow:
    """How `open` opens. `create` makes a missing regular file; with `exclusive` an existing one is EEXIST.

    `directory` insists on a directory (else ENOTDIR). `follow` False opens a symbolic link itself (PATH only).
    `mode` are the permission bits of a new file.
    """

    access: Access = Access.PATH
    create: bool = False
    exclusive: bool = False
    directory: bool = False
    follow: bool = True
    mode: int = 0o644


class NameEvent(NamedTuple):
    """A change of a watched directory: `name` was added, removed, or changed inside ("modified").

    `name` None means that events were lost and everything known about the directory must be read again.
    """

    kind: str
    name: str | None


class Watch(Protocol):
    """A directory being watched. Events that happened before `poll` is called are in its answer."""

    def poll(self) -> list[NameEvent]:
        """Everything that happened since the last poll, in order; never waits."""
        ...

    def close(self) -> None:
        """Stop watching and give back what it cost."""
        ...


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the operation table, made by the `operation` decorator.

    `around_data`: it reaches the bytes of a file past `pread` and `pwrite`. Above a module that has one of those and
    not this operation the chain answers with the contract's default, so that no module is gone around unawares.
    """

    name: str
    target: Target
    mutates: bool
    waits: bool
    around_data: bool = False


_Method = TypeVar("_Method", bound=Callable[..., Any])
_table: dict[str, Operation] = {}


def operation(
    target: Target, *, mutates: bool = False, waits: bool = True, around_data: bool = False
) -> Callable[[_Method], _Method]:
    """Declare a method of `Operations` as an operation and enter it in the table."""

    def declare(method: _Method) -> _Method:
        _table[method.__name__] = Operation(method.__name__, target, mutates, waits, around_data)
        return method

    return declare


def _unsupported(name: str) -> NoReturn:
    raise OSError(errno.ENOTSUP, f"{os.strerror(errno.ENOTSUP)}: {name}")


class Operations:
    """The contract. Each default below is what a chain does when nobody implements the operation."""

    @operation(Target.SHARE)
    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes of the file system that `handle` is on. Default: ENOTSUP."""
        _unsupported("statfs")

    @operation(Target.PATH)
    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root directory for PATH. Closed with `close`. A backend must implement it."""
        _unsupported("open_root")

    @operation(Target.PATH, mutates=True)
    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names beneath `directory`; "" is the directory itself.

        Never truncates and never blocks on a FIFO or device. The kernel's permission check is made for `token`.
        May raise ENOENT, ENOTDIR, EISDIR, EEXIST, EACCES, ELOOP, EXDEV (a link leads out of the share), ENAMETOOLONG.
        A backend must implement it.
        """
        _unsupported("open")

    @operation(Target.PATH)
    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names without opening it. A backend must implement it."""
        _unsupported("stat")

    @operation(Target.PATH, mutates=True)
    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory. EEXIST where the name is taken. Default: ENOTSUP."""
        _unsupported("mkdir")

    @operation(Target.PATH, mutates=True)
    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name that is not a directory's. Default: ENOTSUP."""
        _unsupported("unlink")

    @operation(Target.PATH, mutates=True)
    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory; ENOTEMPTY otherwise. Default: ENOTSUP."""
        _unsupported("rmdir")

    @operation(Target.PATH, mutates=True)
    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename atomically; without `replace` an existing target is EEXIST and untouched. Default: ENOTSUP."""
        _unsupported("rename")

    @operation(Target.PATH, mutates=True)
    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give the file of `handle` a further name; EEXIST where it is taken. Default: ENOTSUP."""
        _unsupported("link")

    @operation(Target.PATH, mutates=True)
    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link holding `target` as it is given. Default: ENOTSUP."""
        _unsupported("symlink")

    @operation(Target.PATH)
    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target that a symbolic link holds; EINVAL for anything else. Default: ENOTSUP."""
        _unsupported("readlink")

    @operation(Target.HANDLE)
    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back; it is never used again, also when this raises. A backend must implement it."""
        _unsupported("close")

    @operation(Target.HANDLE)
    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle. A backend must implement it."""
        _unsupported("fstat")

    @operation(Target.HANDLE)
    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; the bytes read, fewer than asked only at the end of the file.

        Access has been checked at open: no credentials are needed. A backend must implement it.
        """
        _unsupported("pread")

    @operation(Target.HANDLE, mutates=True)
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data` at `offset` (not before the end of a gap); the bytes written, never fewer.

        ENOSPC, EDQUOT, EFBIG after part of it was written are raised. Default: ENOTSUP.
        """
        _unsupported("pwrite")

    @operation(Target.HANDLE)
    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Return when everything written through this handle is on stable storage. Default: ENOTSUP."""
        _unsupported("fsync")

    @operation(Target.HANDLE, mutates=True)
    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file; new bytes read as zeros. Default: ENOTSUP."""
        _unsupported("ftruncate")

    @operation(Target.HANDLE, mutates=True)
    def fallocate(self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int) -> None:
        """Reserve space without changing the end of file. Default: ENOTSUP, which callers may ignore."""
        _unsupported("fallocate")

    @operation(Target.HANDLE)
    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory from its beginning, without "." and "..", in no order, read as they are asked for.

        With `with_attributes` entries carry `stat` and `dos` where that is cheaper than asking later. One iteration
        at a time per handle. A backend must implement it.
        """
        _unsupported("readdir")

    @operation(Target.HANDLE, mutates=True)
    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set the times that are not None; one that the file system cannot keep is left out. Default: ENOTSUP."""
        _unsupported("set_times")

    @operation(Target.HANDLE, mutates=True)
    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits. Default: ENOTSUP."""
        _unsupported("fchmod")

    @operation(Target.HANDLE, mutates=True)
    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one alone. Default: ENOTSUP."""
        _unsupported("fchown")

    @operation(Target.HANDLE)
    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute (full name, "user.x"); ENODATA where there is none. Default: ENOTSUP."""
        _unsupported("getxattr")

    @operation(Target.HANDLE, mutates=True)
    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute. Default: ENOTSUP."""
        _unsupported("setxattr")

    @operation(Target.HANDLE, mutates=True)
    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute; ENODATA where there is none. Default: ENOTSUP."""
        _unsupported("removexattr")

    @operation(Target.HANDLE)
    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """Full names of the extended attributes that `token` may see. Default: ENOTSUP."""
        _unsupported("listxattr")

    @operation(Target.HANDLE)
    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """The NT attributes of a file whose `stat` the caller has. Default: none stored, birth time from `stat`."""
        return DosAttributes(0, stat.btime_ns)

    @operation(Target.HANDLE, mutates=True)
    def set_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, dos: DosAttributes) -> None:
        """Store the NT attributes, all at once. Default: ENOTSUP."""
        _unsupported("set_dos_attributes")

    @operation(Target.HANDLE)
    def get_security(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> bytes | None:
        """The stored security descriptor, self-relative (MS-DTYP 2.4.6), or None: ntfsa then makes one from `stat`."""
        return None

    @operation(Target.HANDLE, mutates=True)
    def set_security(self, token: ImpersonationToken, handle: VfsHandle, descriptor: bytes) -> None:
        """Store a complete self-relative security descriptor. Default: ENOTSUP: ntfsa then maps it to the mode."""
        _unsupported("set_security")

    @operation(Target.HANDLE, waits=False)
    def watch(self, token: ImpersonationToken, handle: VfsHandle) -> Watch:
        """Watch a directory for names that come and go, whoever does it. Default: ENOTSUP."""
        _unsupported("watch")

    @operation(Target.HANDLE, mutates=True, around_data=True)
    def copy_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> int:
        """Copy bytes between two files of this chain, which may be one, without moving them through the server.

        The bytes copied: fewer only at the end of the source. Ranges of one file that overlap are EINVAL. ENOTSUP where
        the two cannot be joined so: the caller then reads and writes. Default: ENOTSUP.
        """
        _unsupported("copy_range")

    @operation(Target.HANDLE, mutates=True, around_data=True)
    def clone_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> None:
        """Let a range of `target` share the blocks of one of `source` until either is written to (REFLINK).

        EINVAL for ranges that are not whole blocks (but at the end of the source), that lie beyond its end, or that
        overlap in one file; EXDEV between file systems. Default: ENOTSUP.
        """
        _unsupported("clone_range")

    @operation(Target.HANDLE, mutates=True, around_data=True)
    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """Let a range read as zeros, without changing the end of file.

        `deallocate`: give back the space it takes (SPARSE), else keep it reserved. Default: ENOTSUP: the caller then
        writes zeros.
        """
        _unsupported("zero_range")

    @operation(Target.HANDLE, around_data=True)
    def allocated_ranges(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        """The parts of a range that are not holes, as (offset, length) in order, at most `limit` of them.

        Nothing beyond the end of file is. Default: ENOTSUP: the caller then takes all of it for allocated.
        """
        _unsupported("allocated_ranges")

    @operation(Target.HANDLE, mutates=True)
    def set_compressed(self, token: ImpersonationToken, handle: VfsHandle, compressed: bool) -> None:
        """Have a file's data, or that of new files in a directory, kept compressed (COMPRESSION). Default: ENOTSUP."""
        _unsupported("set_compressed")

    @operation(Target.HANDLE, mutates=True)
    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open or create a named stream of the file or directory of `handle`, which stays open as long as the stream.

        `name` has no ":" and no type, and is exact: ntfsa looks for other cases. Of `how` count access, create and
        exclusive; ENOENT, EEXIST, ENAMETOOLONG. The handle is one for `pread`, `pwrite`, `ftruncate`, `fallocate`,
        `fsync`, `fstat` (of which only size and allocated are used) and `close`; everything else of a stream is its
        file's. What is beyond the old end of a stream reads as zeros. Default: ENOTSUP.
        """
        _unsupported("open_stream")

    @operation(Target.HANDLE)
    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The named streams of a file or directory, in no order. Default: none."""
        return []

    @operation(Target.HANDLE, mutates=True)
    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a named stream; ENOENT where there is none. Nobody uses handles of it afterwards. Default: ENOTSUP."""
        _unsupported("remove_stream")

    @operation(Target.HANDLE, mutates=True)
    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Give a stream another name; without `replace` an existing target is EEXIST and untouched.

        Handles of it are given back and opened anew by the caller. Default: ENOTSUP.
        """
        _unsupported("rename_stream")

    @operation(Target.HANDLE)
    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """Watch a directory, or the tree beneath it, for what others do in it, as far as `token` may list it.

        What happens after this has returned is told; `lamina.vfs_modules.changes` says what of that this chain's own
        changes are. ENOSPC, EMFILE or ENOMEM where a limit is reached. Default: ENOTSUP.
        """
        _unsupported("watch_changes")

    @operation(Target.HANDLE)
    def set_range_lock(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, kind: RangeLock
    ) -> None:
        """Show programs beside the server how this handle has a range locked; whatever it had there is replaced.

        Only asked where the capability RANGE_LOCKS is claimed. Ends with the handle. Never waits for a lock: EAGAIN
        where another holds one in the way, and then nothing has changed. Where the file system cannot express a range
        or a kind it does what comes nearest and is less. Default: ENOTSUP.
        """
        _unsupported("set_range_lock")

    @operation(Target.HANDLE, waits=False)
    def set_lease(self, token: ImpersonationToken, handle: VfsHandle, kind: FileLease, broken: LeaseBroken) -> None:
        """Be asked before programs beside the server get the file; `kind` NONE and less than before give it back.

        Only asked where the capability LEASES is claimed, on the event loop's thread. `broken(to)` is called there,
        outside of any request and perhaps more than once: somebody waits until this is called anew with `to` or less,
        but no longer than the system lets him. Ends with the handle. EAGAIN where the file is already open elsewhere
        in a way that does not suit `kind`; EACCES where this server may not lease it. Default: ENOTSUP.
        """
        _unsupported("set_lease")

    @operation(Target.HANDLE)
    def get_quota(self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, number: int) -> Quota:
        """What a user or group has on the file system of `handle`, and may have; zeros where it has nothing.

        Only asked where the capability QUOTAS is claimed; that `token` may know has been checked. Default: ENOTSUP.
        """
        _unsupported("get_quota")

    @operation(Target.HANDLE, mutates=True)
    def set_quota(self, token: ImpersonationToken, handle: VfsHandle, quota: Quota) -> None:
        """Set the limits of a user or group; `quota.used` means nothing. That `token` may has been checked.

        Default: ENOTSUP.
        """
        _unsupported("set_quota")

    @operation(Target.HANDLE)
    def list_quotas(
        self, token: ImpersonationToken, handle: VfsHandle, kind: QuotaKind, start: int, limit: int
    ) -> list[Quota]:
        """The entries from the number `start` on, in their order, at most `limit`. Default: none."""
        return []


OPERATIONS: Mapping[str, Operation] = MappingProxyType(_table)
"""The operation table, by name, in the order of the contract."""

BACKEND_MUST_IMPLEMENT = frozenset({"open_root", "open", "stat", "close", "fstat", "pread", "readdir"})
"""Operations without which nothing can be shared."""
