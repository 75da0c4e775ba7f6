"""Named streams as files in a directory of their own, in the form of Samba's module of this name.

For file systems whose extended attributes hold little, or that have none. A file's streams are files called
":NAME:$DATA" in the depot's directory XX/YY/ID; ID is device and inode of the file in hexadecimal, XX/YY a hash of
that. They go with the file when it is removed here. A file that is removed by others leaves them behind, and a new file
may get its number: an attribute of the file (`check_valid`) says whether the streams are its own.

The depot belongs to the server: who may do what with a stream has been checked against its file.
"""

import contextlib
import errno
import logging
import os
import stat as st
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import ClassVar, Final

from pydantic import Field

from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import StreamHandle, VfsHandle
from lamina.vfs_modules.module import ModuleOptions, ShareInfo, named_by_samba
from lamina.vfs_modules.operations import (
    Access,
    Capability,
    DirectoryEntry,
    FileStat,
    OpenHow,
    Operations,
    StreamEntry,
)
from lamina.vfs_modules.private_attributes import PrivateAttributes
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.streams import StreamFile
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

log = logging.getLogger(__name__)

MARKER: Final = "user.SAMBA_STREAMS"
"""The attribute of a file whose streams in the depot are its own."""

_MARKED: Final = b"1"
_TYPE: Final = ":$DATA"
_PATH: Final = OpenHow(Access.PATH, follow=False)
_DIRECTORY: Final = OpenHow(Access.PATH, directory=True, follow=False)
_LIST: Final = OpenHow(Access.READ, directory=True, follow=False)
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_FOLDER_MODE: Final = 0o755


class StreamsDepotOptions(ModuleOptions):
    """Options of `streams_depot`, called as Samba's."""

    samba_names = named_by_samba("streams_depot", "directory", "check_valid", "delete_lost")

    directory: str = Field(
        default=".streams",
        pattern=r"^(/.*|([^/.]|\.[^/.])[^/]*)$",
        description="the depot: the name of a folder in the root of the share, which clients do not see, or the path "
        "of one elsewhere, which must be there",
    )
    check_valid: bool = Field(
        default=True,
        description=f"mark files that have streams with the attribute {MARKER}, where there are attributes, and "
        "believe only the streams of marked files",
    )
    delete_lost: bool = Field(
        default=False,
        description="delete streams whose file is gone when they are found, instead of putting them aside",
    )


def _device_number(dev: int) -> int:
    # `FileStat.dev` is major << 32 | minor; here it is what stat(2) says, as glibc puts it together.
    major, minor = dev >> 32, dev & 0xFFFFFFFF
    return minor & 0xFF | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


def depot_path(dev: int, ino: int) -> str:
    """Where the streams of a file with these numbers of its `FileStat` are, in the depot."""
    raw = struct.pack("<QQ", _device_number(dev) & 0xFFFFFFFFFFFFFFFF, ino & 0xFFFFFFFFFFFFFFFF)
    value = 0x238F13AF * len(raw)
    for index, byte in enumerate(raw):
        value += byte << (index * 5 % 24)
    value = (1103515243 * value + 12345) & 0xFFFFFFFF
    return f"{value & 0xFF:02X}/{value >> 8 & 0xFF:02X}/{raw.hex().upper()}"


def _fail(number: int, name: str) -> OSError:
    return OSError(number, os.strerror(number), name)


class StreamsDepotModule(PrivateAttributes):
    """Keeps named streams in a directory."""

    Options = StreamsDepotOptions
    name: ClassVar[str] = "streams_depot"
    provides: ClassVar[tuple[str, ...]] = ("streams",)
    before: ClassVar[tuple[str, ...]] = ("security",)
    conflicts: ClassVar[tuple[str, ...]] = ("streams_xattr",)
    keeps_streams: ClassVar[bool] = True

    options: StreamsDepotOptions

    def connect(self, share: ShareInfo) -> None:
        """Hold the root of the share."""
        directory = self.options.directory
        self._apart = PosixBackend() if directory.startswith("/") else None
        if self._apart is not None:
            self._apart.connect(ShareInfo(share.name, directory))
        self._store: Operations = self._apart or self.next
        self._prefix = "" if self._apart is not None else f"{directory}/"
        self._root = self._store.open_root(SERVER_TOKEN)
        stat = self._store.fstat(SERVER_TOKEN, self._root)
        self._root_id = (stat.dev, stat.ino)
        # No name has this character.
        self._hidden = "/" if self._apart is not None else directory.casefold()
        self._checks = self.options.check_valid

    def one_process(self) -> str:
        """All that it keeps is in the files, but for what could not be removed, which all know."""
        return ""

    def disconnect(self) -> None:
        """Give the root back."""
        self._store.close(SERVER_TOKEN, self._root)
        if self._apart is not None:
            self._apart.disconnect()

    def capabilities(self, below: Capability) -> Capability:
        """Streams."""
        self._checks = self.options.check_valid and Capability.XATTRS in below
        return below | Capability.STREAMS

    # Streams.

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open or create a stream: an ordinary file, of this chain where the depot is in the share."""
        stat = self.next.fstat(SERVER_TOKEN, handle)
        with self._turn_of(stat):
            opened = self._open_file(handle, stat, name, how)
        return opened if self._apart is None else StreamHandle(_FileApart(self._apart, opened))

    def _turn_of(self, stat: FileStat) -> Turn:
        """The turn of the file with this number: one that goes is gone with its streams before another has it."""
        return self.turn(stat.dev, stat.ino)

    def _open_file(self, handle: VfsHandle, stat: FileStat, name: str, how: OpenHow) -> VfsHandle:
        file_name = _file_name(name)
        folder = self._folder(handle, stat, how.create)
        if folder is None:
            raise _fail(errno.ENOENT, name)
        path = f"{folder}/{file_name}"
        if not how.create:
            return self._store.open(SERVER_TOKEN, self._root, path, OpenHow(how.access, follow=False))
        try:
            return self._make(path, stat, how.access)
        except FileExistsError:
            if how.exclusive:
                raise
        return self._store.open(SERVER_TOKEN, self._root, path, OpenHow(how.access, follow=False))

    def _make(self, path: str, stat: FileStat, access: Access) -> VfsHandle:
        # Whoever may read and write the file locally may do so with its streams, as they are made.
        mode = st.S_IMODE(stat.mode) & 0o666 | 0o600
        made = self._store.open(SERVER_TOKEN, self._root, path, OpenHow(access, True, True, follow=False, mode=mode))
        if SERVER_TOKEN.uid == 0:
            self._give_to(made, stat)
        return made

    def _give_to(self, made: VfsHandle, stat: FileStat) -> None:
        try:
            with contextlib.suppress(OSError):
                self._store.fchown(SERVER_TOKEN, made, stat.uid, stat.gid)
        except BaseException:
            self._store.close(SERVER_TOKEN, made)
            raise

    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The streams of a file."""
        stat = self.next.fstat(SERVER_TOKEN, handle)
        with self._turn_of(stat):
            folder = self._folder(handle, stat, False)
            return self._entries(folder) if folder is not None else []

    def _entries(self, folder: str) -> list[StreamEntry]:
        entries = []
        for name in self._names(folder):
            if name.startswith(":") and name.endswith(_TYPE):
                found = self._store.stat(SERVER_TOKEN, self._root, f"{folder}/{name}")
                entries.append(StreamEntry(name[1 : -len(_TYPE)], found.size, found.allocated))
        return entries

    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a stream."""
        stat = self.next.fstat(SERVER_TOKEN, handle)
        with self._turn_of(stat):
            folder = self._existing(handle, stat, name)
            self._store.unlink(SERVER_TOKEN, self._root, f"{folder}/{_file_name(name)}")

    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Give a stream another name."""
        stat = self.next.fstat(SERVER_TOKEN, handle)
        with self._turn_of(stat):
            folder = self._existing(handle, stat, source)
            before, after = f"{folder}/{_file_name(source)}", f"{folder}/{_file_name(target)}"
            if source != target:
                self._store.rename(SERVER_TOKEN, self._root, before, self._root, after, replace)

    # The depot.

    def _existing(self, handle: VfsHandle, stat: FileStat, name: str) -> str:
        folder = self._folder(handle, stat, False)
        if folder is None:
            raise _fail(errno.ENOENT, name)
        return folder

    def _folder(self, handle: VfsHandle, stat: FileStat, make: bool) -> str | None:
        """The folder of a file's streams; None where there is none and none is to be made."""
        path = self._prefix + depot_path(stat.dev, stat.ino)
        if self._is_folder(path):
            if not self._is_left_behind(path) and (not self._checks or self._is_marked(handle)):
                return path
            self._put_aside(path)
        self._note_left_behind(path, False)
        if not make:
            return None
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            with contextlib.suppress(FileExistsError):
                self._store.mkdir(SERVER_TOKEN, self._root, "/".join(parts[:depth]), _FOLDER_MODE)
        if self._checks:
            self.next.setxattr(SERVER_TOKEN, handle, MARKER, _MARKED)
        return path

    def _is_left_behind(self, path: str) -> bool:
        return self.shared.get(path.encode()) is not None

    def _note_left_behind(self, path: str, is_so: bool) -> None:
        """Whether the streams of a file that is gone could not be removed: they are not those of the next one."""
        if is_so != self._is_left_behind(path):
            with self.shared.step() as values:
                if is_so:
                    values.put(path.encode(), b"")
                else:
                    values.delete(path.encode())

    def _is_folder(self, path: str) -> bool:
        try:
            return st.S_ISDIR(self._store.stat(SERVER_TOKEN, self._root, path).mode)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return False

    def _is_marked(self, handle: VfsHandle) -> bool:
        try:
            return self.next.getxattr(SERVER_TOKEN, handle, MARKER) == _MARKED
        except OSError:
            return False

    def _put_aside(self, folder: str) -> None:
        log.info("%s holds streams of a file that is gone", folder)
        if self.options.delete_lost:
            self._delete(folder)
            return
        for number in range(1 << 16):
            with contextlib.suppress(FileExistsError):
                aside = f"{self._prefix}lost-{number}"
                self._store.rename(SERVER_TOKEN, self._root, folder, self._root, aside, False)
                return
        raise _fail(errno.EEXIST, folder)

    def _names(self, folder: str) -> list[str]:
        opened = self._store.open(SERVER_TOKEN, self._root, folder, _LIST)
        try:
            return [entry.name for entry in self._store.readdir(SERVER_TOKEN, opened)]
        finally:
            self._store.close(SERVER_TOKEN, opened)

    def _delete(self, folder: str) -> None:
        for name in self._names(folder):
            self._store.unlink(SERVER_TOKEN, self._root, f"{folder}/{name}")
        self._store.rmdir(SERVER_TOKEN, self._root, folder)

    # What removes a file removes its streams.

    def _last_name(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> FileStat | None:
        """The stat of what is about to go with this name, else None."""
        try:
            stat = self.next.stat(token, directory, path)
        except OSError:
            return None
        return stat if stat.nlink == 1 or st.S_ISDIR(stat.mode) else None

    def _goes(self, stat: FileStat | None) -> AbstractContextManager[None]:
        """The turn of what is about to go, if anything is."""
        return contextlib.nullcontext() if stat is None else self._turn_of(stat)

    def _forget(self, stat: FileStat | None) -> None:
        folder = self._prefix + depot_path(stat.dev, stat.ino) if stat is not None else ""
        if not folder or not self._is_folder(folder):
            return
        # A new file may get the number though the streams could not be removed, or whoever removes them is killed.
        self._note_left_behind(folder, True)
        try:
            self._delete(folder)
        except OSError as error:
            if error.errno not in _GONE:
                log.warning("streams in %s cannot be removed: %s", folder, error.strerror)
                return
        self._note_left_behind(folder, False)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name, and with a file's last one its streams."""
        self._refuse(path)
        stat = self._last_name(token, directory, path)
        with self._goes(stat):
            self.next.unlink(token, directory, path)
            self._forget(stat)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a directory and its streams."""
        self._refuse(path)
        stat = self._last_name(token, directory, path)
        with self._goes(stat):
            self.next.rmdir(token, directory, path)
            self._forget(stat)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename, and remove the streams of what was replaced."""
        self._refuse(source)
        self._refuse_new(target)
        stat = self._last_name(token, target_directory, target) if replace else None
        if stat is not None and stat == self._last_name(token, source_directory, source):
            stat = None
        with self._goes(stat):
            self.next.rename(token, source_directory, source, target_directory, target, replace)
            self._forget(stat)

    # The depot and the marks are nobody's but this module's.

    def _is_private(self, name: str) -> bool:
        return name == MARKER

    def _refuse(self, path: str) -> None:
        if path.partition("/")[0].casefold() == self._hidden:
            raise _fail(errno.ENOENT, path)

    def _refuse_new(self, path: str) -> None:
        # Whoever could give something of his own that name would say where the server keeps streams.
        if path.partition("/")[0].casefold() == self._hidden:
            raise _fail(errno.EACCES, path)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open everything but the depot, and make nothing of its name."""
        (self._refuse_new if how.create else self._refuse)(path)
        return self.next.open(token, directory, path, how)

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at everything but the depot."""
        self._refuse(path)
        return self.next.stat(token, directory, path, follow)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory that is not the depot: that name is taken."""
        self._refuse_new(path)
        self.next.mkdir(token, directory, path, mode)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give a file a name that is not the depot's."""
        self._refuse_new(path)
        self.next.link(token, handle, directory, path)

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a link that is not called like the depot."""
        self._refuse_new(path)
        self.next.symlink(token, target, directory, path)

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries but the depot."""
        entries = self.next.readdir(token, handle, with_attributes)
        stat = self.next.fstat(token, handle)
        return entries if (stat.dev, stat.ino) != self._root_id else self._without_depot(entries)

    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """The depot's own changes are nobody's business."""
        stat = self.next.fstat(token, handle)
        if (stat.dev, stat.ino) == self._root_id:
            query = query.without(lambda path: path.partition("/")[0].casefold() == self._hidden)
        return self.next.watch_changes(token, handle, query)

    def _without_depot(self, entries: Iterator[DirectoryEntry]) -> Iterator[DirectoryEntry]:
        return (entry for entry in entries if entry.name.casefold() != self._hidden)


def _file_name(name: str) -> str:
    return f":{name}{_TYPE}"


class _FileApart(StreamFile):
    """A stream in a depot that is no part of the share: its handle is one of another backend."""

    def __init__(self, backend: PosixBackend, opened: VfsHandle) -> None:
        self._backend = backend
        self._opened = opened

    def pread(self, token: ImpersonationToken, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`."""
        return self._backend.pread(SERVER_TOKEN, self._opened, buffer, offset)

    def pwrite(self, token: ImpersonationToken, data: memoryview, offset: int) -> int:
        """Write all of `data`."""
        return self._backend.pwrite(SERVER_TOKEN, self._opened, data, offset)

    def ftruncate(self, token: ImpersonationToken, length: int) -> None:
        """Set the end."""
        self._backend.ftruncate(SERVER_TOKEN, self._opened, length)

    def fallocate(self, token: ImpersonationToken, offset: int, length: int) -> None:
        """Reserve space."""
        self._backend.fallocate(SERVER_TOKEN, self._opened, offset, length)

    def fsync(self, token: ImpersonationToken, data_only: bool = False) -> None:
        """Wait for stable storage."""
        self._backend.fsync(SERVER_TOKEN, self._opened, data_only)

    def fstat(self, token: ImpersonationToken) -> FileStat:
        """The file's own."""
        return self._backend.fstat(SERVER_TOKEN, self._opened)

    def close(self, token: ImpersonationToken) -> None:
        """Close the file."""
        self._backend.close(SERVER_TOKEN, self._opened)
