"""The backend for folders of this machine, on the impersonating system calls.

On a local file system metadata calls run where they stand, on the loop's thread: a cached answer comes back sooner than
a thread could be woken. Data is read with RWF_NOWAIT first and by a worker thread when it is not in memory; large or
synchronous writes and fsync go to a worker thread. On network file systems everything does. The option `offload`
changes that.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, ClassVar, Literal

from pydantic import Field

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.engine import breathe, offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import (
    Capability,
    DirectoryEntry,
    FileStat,
    OpenHow,
    Operation,
    Times,
    VolumeStatistics,
    Watch,
)
from lamina.vfs_modules.stock.posix.outside import (
    OutsideOptions,
    PosixOutside,
    beside_others,
    outside_capabilities,
)
from lamina.vfs_modules.stock.posix.quotas import PosixQuotas, quota_capabilities
from lamina.vfs_modules.stock.posix.ranges import WAITS_BY_ITSELF, PosixRanges, range_capabilities
from lamina.vfs_modules.syscalls.notify import Notifier
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

# By Access; the first is not used: PATH is O_PATH.
_COMMON = os.O_NONBLOCK | os.O_NOCTTY
_DATA_FLAGS = (os.O_PATH, os.O_RDONLY | _COMMON, os.O_WRONLY | _COMMON, os.O_RDWR | _COMMON)
_S_IFMT, _S_IFREG, _S_IFDIR, _S_IFLNK = 0o170000, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK
_NOWAIT = os.RWF_NOWAIT
_READDIR_BATCH = 512
# These decide for themselves, call by call, or never wait.
_NEVER_WRAPPED = WAITS_BY_ITSELF | frozenset(
    {"pread", "pwrite", "fsync", "readdir", "watch", "watch_changes", "close", "get_dos_attributes", "get_security"}
    | {"set_lease"}
)


class PosixOptions(OutsideOptions):
    """Options of `posix`."""

    offload: Literal["never", "auto", "always"] = Field(
        default="auto",
        description="which system calls run on worker threads: those that may sleep (auto), none, or all",
    )
    access_time: Literal["mount", "never"] = Field(
        default="mount",
        description="whether reading changes a file's access time: as the file system is mounted, or never",
    )
    inline_write: int = Field(
        default=262_144, ge=0, description="bytes up to which a buffered write runs on the loop's thread"
    )
    watches: int = Field(
        default=16_384, ge=1, description="directories of the share that may be watched for changes at a time"
    )


class PosixFile:
    """What `posix` keeps for a handle: how it reads, and whether its descriptor is O_PATH."""

    __slots__ = ("by_path", "nowait", "waits")

    def __init__(self, by_path: bool, nowait: bool, waits: bool) -> None:
        self.by_path = by_path
        self.nowait = nowait
        self.waits = waits


_BY_PATH = PosixFile(True, False, True)


class PosixBackend(PosixRanges, PosixOutside, PosixQuotas):
    """A folder of this machine's file systems."""

    Options = PosixOptions
    name: ClassVar[str] = "posix"
    kernel_files: ClassVar[bool] = True

    options: PosixOptions

    def __init__(self, options: PosixOptions | None = None) -> None:
        super().__init__(options)
        self._root = -1
        self._follows = True
        self._metadata_waits: bool | None = None
        self._notifier = Notifier(self.options.watches)
        self._devices: dict[int, PosixFile] = {}
        self._ready = PosixFile(False, True, self.options.offload != "never")
        self._quiet = self.options.access_time == "never"

    # Lifecycle.

    def connect(self, share: ShareInfo) -> None:
        """Open the share's folder."""
        self._root = syscalls.open_directory(SERVER_TOKEN, share.path)
        self._follows = share.follow_symlinks

    def disconnect(self) -> None:
        """Close the folder and the watches."""
        self._notifier.close()
        root, self._root = self._root, -1
        os.close(root)

    def capabilities(self, below: Capability) -> Capability:
        """What the file system of the folder has."""
        found = (
            Capability.CASE_SENSITIVE
            | Capability.HARD_LINKS
            | Capability.SYMLINKS
            | Capability.WATCH
            | Capability.WATCH_CHANGES
            | range_capabilities(self._root)
            | quota_capabilities(self._root)
            | outside_capabilities(self.options, not syscalls.is_network(self._root))
        )
        if syscalls.fstatx(self._root).btime_ns is not None:
            found |= Capability.CREATION_TIME
        return found | Capability.XATTRS if self._has_xattrs() else found

    def _has_xattrs(self) -> bool:
        try:
            syscalls.getxattr(SERVER_TOKEN, self._root, "user.lamina.probe", True)
        except OSError as error:
            return error.errno == errno.ENODATA
        return True

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Where metadata may have to wait, let a worker thread ask for it; and respect local programs if asked to."""
        if self._metadata_waits is None:
            self._metadata_waits = self._must_metadata_wait()
        waits = self._metadata_waits
        if waits and operation.name not in _NEVER_WRAPPED:
            call = _offloaded(call)
        return beside_others(self.options, operation.name, call, waits)

    def _must_metadata_wait(self) -> bool:
        if self.options.offload != "auto" or self.share is None:
            return self.options.offload == "always"
        try:
            fd = syscalls.open_directory(SERVER_TOKEN, self.share.path)
        except OSError:
            return False  # connect will say what is wrong with the folder
        try:
            return syscalls.is_network(fd)
        finally:
            os.close(fd)

    # Opening and closing.

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root directory for PATH."""
        return VfsHandle(syscalls.reopen(token, self._root, os.O_PATH | os.O_DIRECTORY), True, _BY_PATH)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names beneath `directory`."""
        raw = encode_name(path)
        by_path = not how.access
        if by_path:
            fd = self._open_path(token, directory.fd, raw, how)
        else:
            flags = _DATA_FLAGS[how.access]
            if how.directory:
                flags |= os.O_DIRECTORY
            if how.create:
                flags |= os.O_CREAT | os.O_EXCL if how.exclusive else os.O_CREAT
            fd = self._open(token, directory.fd, raw, flags, how)
            if self._quiet:
                syscalls.keep_access_time(fd)
        if how.directory:
            return VfsHandle(fd, True, _BY_PATH if by_path else self._ready)
        status = os.fstat(fd)
        kind = status.st_mode & _S_IFMT
        if by_path:
            return VfsHandle(fd, kind == _S_IFDIR, _BY_PATH)
        if kind == _S_IFREG:
            return VfsHandle(fd, False, self._devices.get(status.st_dev, self._ready))
        if kind == _S_IFDIR:
            return VfsHandle(fd, True, self._ready)
        os.close(fd)
        raise OSError(errno.EACCES, "not a regular file or directory", path)

    def _open_path(self, token: ImpersonationToken, directory: int, raw: bytes, how: OpenHow) -> int:
        flags = os.O_PATH | os.O_DIRECTORY if how.directory else os.O_PATH
        if not how.create:
            return self._open(token, directory, raw, flags, how)
        # The kernel ignores O_CREAT beside O_PATH: make the file exclusively, and otherwise look for it.
        for _ in range(8):
            try:
                made = self._open(token, directory, raw, os.O_WRONLY | os.O_CREAT | os.O_EXCL, how)
            except FileExistsError:
                if how.exclusive:
                    raise
            else:
                try:
                    return syscalls.reopen(token, made, flags)
                finally:
                    os.close(made)
            try:
                return self._open(token, directory, raw, flags, how)
            except FileNotFoundError:
                continue  # it was removed between the two calls
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), raw)

    def _open(self, token: ImpersonationToken, directory: int, raw: bytes, flags: int, how: OpenHow) -> int:
        if b"/" in raw or raw == b"..":
            return self._open_far(token, directory, raw, flags, how)
        try:
            fd = syscalls.open_component(token, directory, raw or b".", flags, how.mode)
        except OSError as error:
            # A symbolic link shows as ELOOP, or as ENOTDIR where a directory is wanted.
            if not how.follow or error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            return self._open_far(token, directory, raw, flags, how)
        if flags & os.O_PATH and how.follow and not how.directory and os.fstat(fd).st_mode & _S_IFMT == _S_IFLNK:
            os.close(fd)
            return self._open_far(token, directory, raw, flags, how)
        return fd

    def _open_far(self, token: ImpersonationToken, directory: int, raw: bytes, flags: int, how: OpenHow) -> int:
        if not how.follow:
            flags |= os.O_NOFOLLOW
        try:
            return syscalls.openat(token, directory, raw, flags, how.mode, self._follows)
        except OSError as error:
            if error.errno != errno.EXDEV or b".." in raw.split(b"/"):
                raise
            from_root = self._path_from_root(directory)
            if not from_root:
                raise
        # The link leads out of this directory, but perhaps not out of the share.
        return syscalls.openat(token, self._root, from_root + b"/" + raw, flags, how.mode, self._follows)

    def _path_from_root(self, directory: int) -> bytes:
        root = syscalls.path_of(self._root).rstrip(b"/") + b"/"
        path = syscalls.path_of(directory)
        return path[len(root) :] if path.startswith(root) else b""

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back."""
        fd, handle.fd = handle.fd, -1
        os.close(fd)

    # Names.

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names without opening it."""
        found = syscalls.statat(token, directory.fd, path)
        if not follow or not stat.S_ISLNK(found.mode):
            return found
        fd = self._open_far(token, directory.fd, encode_name(path), os.O_PATH, OpenHow())
        try:
            return syscalls.fstatx(fd)
        finally:
            os.close(fd)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        syscalls.mkdirat(token, directory.fd, path, mode)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name that is not a directory's."""
        syscalls.unlinkat(token, directory.fd, path)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        syscalls.rmdirat(token, directory.fd, path)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename atomically."""
        syscalls.renameat(token, source_directory.fd, source, target_directory.fd, target, replace)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give the file of `handle` a further name."""
        syscalls.linkat(token, handle.fd, directory.fd, path)

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link."""
        syscalls.symlinkat(token, target, directory.fd, path)

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target that a symbolic link holds."""
        return syscalls.readlinkat(token, directory.fd, path)

    # Data.

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`, from memory where it is there and on a worker thread where it is not."""
        fd = handle.fd
        file: PosixFile = handle.private
        if file.nowait:
            try:
                got = os.preadv(fd, (buffer,), offset, _NOWAIT)
            except OSError as error:
                got = self._not_now(fd, handle, error)
            if got == len(buffer):
                return got
        else:
            got = 0
        return self._read_rest(token, handle, buffer, offset, got)

    def _read_rest(
        self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int, got: int
    ) -> int:
        # A short answer is the end of the file, or of what was in memory: only a read that may wait can tell.
        fd = handle.fd
        waits = handle.private.waits and os.fstat(fd).st_size > offset + got
        while got < len(buffer):
            rest = buffer[got:]
            more = (
                offload(token, os.preadv, fd, (rest,), offset + got) if waits else os.preadv(fd, (rest,), offset + got)
            )
            if more == 0:
                break
            got += more
        return got

    def _not_now(self, fd: int, handle: VfsHandle, error: OSError) -> int:
        if error.errno == errno.EOPNOTSUPP:
            # This file system cannot say whether it would wait; one that lives in memory never does.
            waits = self.options.offload != "never" and not syscalls.is_memory(fd)
            handle.private = self._devices[os.fstat(fd).st_dev] = PosixFile(False, False, waits)
        elif error.errno != errno.EAGAIN:
            raise error
        return 0

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data`."""
        if len(data) > self.options.inline_write and handle.private.waits:
            return offload(token, _write_all, handle.fd, data, offset)
        return _write_all(handle.fd, data, offset)

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Wait for stable storage, on a worker thread."""
        sync = os.fdatasync if data_only else os.fsync
        if not handle.private.by_path:
            self._perhaps_offload(token, sync, handle.fd)
            return
        fd = syscalls.reopen(token, handle.fd, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self._perhaps_offload(token, sync, fd)
        finally:
            os.close(fd)

    def _perhaps_offload(self, token: ImpersonationToken, call: Callable[[int], None], fd: int) -> None:
        if self.options.offload == "never":
            call(fd)
        else:
            offload(token, call, fd)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file."""
        os.ftruncate(handle.fd, length)

    def fallocate(self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int) -> None:
        """Reserve space."""
        syscalls.fallocate(token, handle.fd, offset, length)

    # Directories.

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory, from a descriptor of its own."""
        entries = self._entries(token, handle.fd, with_attributes)
        return _in_batches(token, entries) if self._metadata_waits else entries

    def _entries(self, token: ImpersonationToken, directory: int, with_attributes: bool) -> Iterator[DirectoryEntry]:
        fd = syscalls.open_component(token, directory, b".", os.O_RDONLY | os.O_DIRECTORY, 0)
        if self._quiet:
            syscalls.keep_access_time(fd)
        try:
            if with_attributes:
                yield from syscalls.list_entries(token, fd)
            else:
                yield from map(DirectoryEntry, syscalls.list_names(token, fd))
        finally:
            os.close(fd)

    def watch(self, token: ImpersonationToken, handle: VfsHandle) -> Watch:
        """Watch a directory with inotify."""
        return self._notifier.watch(token, handle.fd)

    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """Watch a directory or a tree with inotify."""
        watch = self._notifier.watch_changes(token, handle.fd, query)
        try:
            while watch.grow():
                breathe()
        except BaseException:
            watch.close()
            raise
        return watch

    # Attributes.

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes of the file system."""
        return syscalls.statvfs(token, handle.fd)

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle."""
        return syscalls.fstatx(handle.fd)

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set last access and last write; POSIX keeps no other time that can be set."""
        if times.access_ns is not None or times.write_ns is not None:
            syscalls.set_times(token, handle.fd, times.access_ns, times.write_ns)

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits."""
        syscalls.fchmod(token, handle.fd, mode, handle.private.by_path)

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group."""
        syscalls.fchown(token, handle.fd, uid, gid, handle.private.by_path)

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute."""
        return syscalls.getxattr(token, handle.fd, name, handle.private.by_path)

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute."""
        syscalls.setxattr(token, handle.fd, name, value, handle.private.by_path)

    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute."""
        syscalls.removexattr(token, handle.fd, name, handle.private.by_path)

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The names of the extended attributes."""
        return syscalls.listxattr(token, handle.fd, handle.private.by_path)


def _offloaded(call: Callable[..., Any]) -> Callable[..., Any]:
    def offloaded(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
        return offload(token, lambda: call(token, *arguments, **keywords))

    return offloaded


def _write_all(fd: int, data: memoryview, offset: int) -> int:
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)
    return written


def _in_batches(token: ImpersonationToken, entries: Iterator[DirectoryEntry]) -> Iterator[DirectoryEntry]:
    while True:
        batch = offload(token, lambda: list(islice(entries, _READDIR_BATCH)))
        if not batch:
            return
        yield from batch
