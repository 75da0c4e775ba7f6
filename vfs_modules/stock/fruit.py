"""What Macs expect of a share: resource forks, Finder information, Apple's extensions of SMB, Time Machine.

Stands above a module that keeps named streams, and is called like Samba's module, whose files and attributes it reads
and writes. `apple` has the forms; this is where they meet the operations of a chain.
"""

import contextlib
import errno
import functools
import os
import stat as st
from collections.abc import Iterator
from typing import ClassVar, Final

from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.extensions import (
    Client,
    ClientTrait,
    EntryDetails,
    OpenedFile,
    create_context,
    directory_entries,
    file_sharing,
)
from lamina.vfs_modules.handle import StreamHandle, VfsHandle
from lamina.vfs_modules.module import ModuleError, ShareInfo
from lamina.vfs_modules.open_paths import OpenPath, open_at, open_paths
from lamina.vfs_modules.operations import (
    Access,
    Capability,
    DirectoryEntry,
    FileStat,
    OpenHow,
    StreamEntry,
    VolumeStatistics,
)
from lamina.vfs_modules.private_attributes import PrivateAttributes
from lamina.vfs_modules.stock.apple import aapl, afp_info, fork, netatalk
from lamina.vfs_modules.stock.apple.afp_locks import AfpLocks
from lamina.vfs_modules.stock.apple.conversion import Converter
from lamina.vfs_modules.stock.apple.fork import ForkStream
from lamina.vfs_modules.stock.apple.header_files import HeaderFile, HeaderFiles, header_path, is_header_name
from lamina.vfs_modules.stock.apple.metadata import MetadataStore, MetadataStream, NetatalkMetadata, StreamMetadata
from lamina.vfs_modules.stock.apple.options import FruitOptions
from lamina.vfs_modules.stock.apple.time_machine import BackedUp
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

_MAC_EPOCH: Final = 946_684_800
_BILLION: Final = 1_000_000_000


_SHARING: Final = "sharing"
"""The kind of turns in which it is told and looked how a file is open; others are about what is kept beside a file."""

_OWN: Final = {name.lower(): name for name in (afp_info.STREAM, fork.STREAM)}


def _exact(name: str) -> str:
    """The name of a stream in the one case that this module's have."""
    return _OWN.get(name.lower(), name)


def _fail(number: int, name: str) -> OSError:
    return OSError(number, os.strerror(number), name)


class FruitModule(PrivateAttributes):
    """Serves Macs."""

    Options = FruitOptions
    name: ClassVar[str] = "fruit"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")
    requires: ClassVar[tuple[str, ...]] = ("streams",)
    keeps_streams: ClassVar[bool] = True

    options: FruitOptions

    def connect(self, share: ShareInfo) -> None:
        """Hold the root of the share."""
        options = self.options
        self._root = self.next.open_root(SERVER_TOKEN)
        self._paths = open_paths(self)
        self._files = HeaderFiles(self.next, self._root)
        self._metadata: MetadataStore = (
            NetatalkMetadata(self.next) if options.metadata == "netatalk" else StreamMetadata(self.next)
        )
        self._converter = Converter(self.next, self._root, self._files, self._metadata, options)
        self._converts = options.convert_adouble and not share.read_only
        self._has_files = options.resource == "file"
        self._hides = self._has_files and options.veto_appledouble
        self._backed_up = BackedUp(self.next, self._root)
        self._locks = AfpLocks(self.next, self._root)

    def one_process(self) -> str:
        """All is in the files, and paths of what is open are shared."""
        return ""

    def capabilities(self, below: Capability) -> Capability:
        """What there is below. Raises ModuleError where files cannot be shared as the options want it."""
        if self.options.locking == "netatalk":
            if Capability.RANGE_LOCKS not in below:
                raise ModuleError("fruit: locking = 'netatalk' needs locks that others see: posix_locking of posix")
            if Capability.LEASES in below:
                raise ModuleError("fruit: locking = 'netatalk' and kernel_oplocks of posix do not go together")
        return below

    def disconnect(self) -> None:
        """Give the root back."""
        self.next.close(SERVER_TOKEN, self._root)

    def _is_private(self, name: str) -> bool:
        return name == netatalk.ATTRIBUTE

    # Apple's extensions.

    @create_context(aapl.TAG)
    def agree(self, token: ImpersonationToken, opened: OpenedFile, data: memoryview, client: Client) -> bytes | None:
        """Answer what a Mac asks, and do from now on what it then expects."""
        query = aapl.parse_query(data) if self.options.aapl else None
        if query is None:
            return None
        if aapl.Asked.SERVER_CAPABILITIES in query.asked:
            client.traits |= self._traits(query.client)
        volume = aapl.VolumeCapability.FULL_SYNC if self.options.time_machine else aapl.VolumeCapability(0)
        return aapl.pack_answer(query.asked, self._capabilities(query.client), volume, self.options.model)

    def _capabilities(self, client: aapl.ServerCapability) -> aapl.ServerCapability:
        able = aapl.ServerCapability.UNIX_BASED | client & aapl.ServerCapability.READ_DIR_ATTR
        if self.options.copyfile:
            able |= aapl.ServerCapability.OSX_COPYFILE
        if self.options.nfs_aces:
            able |= aapl.ServerCapability.NFS_ACE
        return able

    def _traits(self, client: aapl.ServerCapability) -> ClientTrait:
        options = self.options
        chosen = (
            (ClientTrait.RICH_ENTRIES, aapl.ServerCapability.READ_DIR_ATTR in client),
            (ClientTrait.ZERO_FILE_IDS, options.zero_file_id),
            (ClientTrait.OPEN_TREES_MOVE, options.posix_rename),
            (ClientTrait.EMPTY_STREAMS_VANISH, True),
            (ClientTrait.UNIX_ACES, options.nfs_aces),
            (ClientTrait.WHOLE_COPIES, options.copyfile),
        )
        traits = ClientTrait(0)
        for trait, wanted in chosen:
            if wanted:
                traits |= trait
        return traits

    @directory_entries
    def describe(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> EntryDetails | None:
        """What a listing tells a Mac of a file."""
        header = self._converted(token, handle)
        finder, size = afp_info.NO_FINDER, 0
        if self.options.aapl_finder_info:
            info = self._load(token, handle)
            finder = info.finder if info is not None else finder
        is_file = st.S_ISREG(stat.mode)
        if self.options.aapl_rsize and is_file:
            size = self._fork_size(token, handle, header)
        born = stat.btime_ns if stat.btime_ns is not None else stat.mtime_ns
        short_name = size.to_bytes(8, "little") + afp_info.in_entry(finder, is_file, born // _BILLION - _MAC_EPOCH)
        return EntryDetails(short_name, stat.mode & 0xFFFF, self.options.aapl_max_access)

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """The sizes of the file system; for Time Machine, of what it may use."""
        found = self.next.statfs(token, handle)
        limit = self.options.time_machine_max_size
        return self._backed_up.limited(found, limit) if self.options.time_machine and limit else found

    @file_sharing
    def share_with_others(self, token: ImpersonationToken, opened: OpenedFile, share: int) -> None:
        """Tell Netatalk and Samba how a file is open, and respect how they have it."""
        place: OpenPath | None = self.state(opened.handle)
        if self.options.locking == "none" or opened.handle.is_directory or place is None:
            return
        is_fork = _exact(opened.stream) == fork.STREAM
        path = place.path
        if path and (is_fork or not opened.stream):
            with self._turn_of(token, opened.handle, _SHARING):
                place.kept = self._locks.open(path, opened.access, share, is_fork)

    # Streams.

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open or create a stream, of which Finder information and resource fork are this module's."""
        header = self._converted(token, handle)
        name = _exact(name)
        if name == afp_info.STREAM:
            self._check(how, name, self._load(token, handle) is not None)
            return StreamHandle(MetadataStream(self._metadata, handle, how.access, self._turn_of(token, handle)))
        if name == fork.STREAM and self._has_files:
            self._check(how, name, self._fork_size(token, handle, header) > 0)
            opener, turn = self._opener(handle, how.access), self._turn_of(token, handle)
            return StreamHandle(ForkStream(self.next, self._files, opener, how.access, turn))
        return self.next.open_stream(token, handle, name, how)

    def _turn_of(self, token: ImpersonationToken, handle: VfsHandle, kind: str = "") -> Turn:
        stat = self.next.fstat(token, handle)
        return self.turn(stat.dev, stat.ino, kind=kind)

    def _check(self, how: OpenHow, name: str, is_there: bool) -> None:
        if is_there:
            if how.create and how.exclusive:
                raise _fail(errno.EEXIST, name)
        elif not how.create:
            raise _fail(errno.ENOENT, name)

    def _load(self, token: ImpersonationToken, handle: VfsHandle) -> afp_info.AfpInfo | None:
        try:
            return self._metadata.load(token, handle)
        except PermissionError:
            # That there is one, and what it says, is told to whoever may look at the file.
            return self._metadata.load(SERVER_TOKEN, handle)

    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The streams; the two of this module where something is in them."""
        header = self._converted(token, handle)
        own = {afp_info.STREAM, fork.STREAM} if self._has_files else {afp_info.STREAM}
        streams = [entry for entry in self.next.list_streams(token, handle) if entry.name not in own]
        if self._load(token, handle) is not None:
            streams.append(StreamEntry(afp_info.STREAM, afp_info.SIZE, afp_info.SIZE))
        size = self._files.fork_size(header) if self._has_files else 0
        if size:
            streams.append(StreamEntry(fork.STREAM, size, size))
        return streams

    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a stream; but not a resource fork, which Macs cut to nothing instead and otherwise mean to keep."""
        name = _exact(name)
        if name == afp_info.STREAM:
            with self._turn_of(token, handle):
                self._metadata.remove(token, handle)
        elif name != fork.STREAM or not self._has_files:
            self.next.remove_stream(token, handle, name)

    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Rename a stream that is not this module's."""
        if not {_exact(source), _exact(target)}.isdisjoint({afp_info.STREAM, fork.STREAM}):
            raise _fail(errno.EACCES, source)
        self.next.rename_stream(token, handle, source, target, replace)

    # Header files.

    def _path(self, handle: VfsHandle) -> str | None:
        place: OpenPath | None = self.state(handle)
        return place.path if place is not None else None

    def _header(self, token: ImpersonationToken, handle: VfsHandle) -> HeaderFile | None:
        path = self._path(handle)
        return self._files.find(token, path, self.next.fstat(token, handle)) if path else None

    def _converted(self, token: ImpersonationToken, handle: VfsHandle) -> HeaderFile | None:
        """The header file of an open file, once what is in it for elsewhere has been taken there."""
        if not self._has_files and not self._converts:
            return None
        header = self._header(token, handle)
        if header is None or not self._converts or not self._converter.is_needed(header):
            return header
        with self._turn_of(token, handle):
            path, header = self._path(handle), self._header(token, handle)
            if path and header is not None and self._converter.is_needed(header):
                self._converter.convert(token, handle, path, self.next.fstat(token, handle), header)
        return self._header(token, handle)

    def _fork_size(self, token: ImpersonationToken, handle: VfsHandle, header: HeaderFile | None) -> int:
        if self._has_files:
            return self._files.fork_size(header)
        sizes = (entry.size for entry in self.next.list_streams(token, handle) if entry.name == fork.STREAM)
        return next(sizes, 0)

    def _opener(self, handle: VfsHandle, access: Access) -> fork.Opener:
        def opened(token: ImpersonationToken, create: bool) -> VfsHandle | None:
            with self._turn_of(token, handle):
                return self._open_header(token, handle, access, create)

        return opened

    def _open_header(
        self, token: ImpersonationToken, handle: VfsHandle, access: Access, create: bool
    ) -> VfsHandle | None:
        header = self._header(token, handle)
        if header is not None and header.is_as_made_here:
            with contextlib.suppress(FileNotFoundError):
                return self._files.open(header, access)
        if not create:
            return None
        path = self._path(handle)
        if path is None:
            raise _fail(errno.ENOENT, fork.STREAM)
        return self._files.make(path, self.next.fstat(token, handle))

    def _header_beside(self, token: ImpersonationToken, path: str) -> HeaderFile | None:
        """The header file of what is about to be moved or removed."""
        if not self._has_files or header_path(path) is None:
            return None
        try:
            return self._files.find(token, path, self.next.stat(token, self._root, path))
        except OSError:
            return None

    # Operations on paths.

    def _full(self, directory: VfsHandle, path: str) -> str:
        above = self._path(directory)
        return f"{above}/{path}" if above and path else above or path

    def _refuse(self, path: str, number: int = errno.ENOENT) -> None:
        if self._hides and is_header_name(path):
            raise _fail(number, path)

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the root, which all paths begin at."""
        handle = self.next.open_root(token)
        self.set_state(handle, self._paths.add(""))
        return handle

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open a file, and note where it is."""
        self._refuse(path, errno.EACCES if how.create else errno.ENOENT)
        full = self._full(directory, path)
        opening = functools.partial(self.next.open, token, directory, path, how)
        handle, place = open_at(self._paths, self.next, self._root, token, full, opening)
        self.set_state(handle, place)
        return handle

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Close a file, and forget where it was."""
        place: OpenPath | None = self.state(handle)
        if place is not None:
            self._paths.remove(place)
            if place.kept is not None:
                self._locks.close(place.kept)
        self.next.close(token, handle)

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at a file that is not hidden."""
        self._refuse(path)
        return self.next.stat(token, directory, path, follow)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory under a name that is not hidden."""
        self._refuse(path, errno.EACCES)
        self.next.mkdir(token, directory, path, mode)

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link under a name that is not hidden."""
        self._refuse(path, errno.EACCES)
        self.next.symlink(token, target, directory, path)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give a file another name that is not hidden."""
        self._refuse(path, errno.EACCES)
        self.next.link(token, handle, directory, path)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name, and the header file that belongs to it."""
        self._refuse(path)
        full = self._full(directory, path)
        header = self._header_beside(token, full)
        self.next.unlink(token, directory, path)
        self._forget(full, header)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a directory; header files that clients do not see do not keep it."""
        full = self._full(directory, path)
        header = self._header_beside(token, full)
        try:
            self.next.rmdir(token, directory, path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST} or not self._remove_hidden(token, full):
                raise
            self.next.rmdir(token, directory, path)
        self._forget(full, header)

    def _forget(self, path: str, header: HeaderFile | None) -> None:
        self._paths.gone(path)
        if header is not None:
            with contextlib.suppress(OSError):
                self._files.remove(header)

    def _remove_hidden(self, token: ImpersonationToken, folder: str) -> bool:
        """Remove the header files of a folder that has nothing else in it; whether that is so."""
        if not self._hides:
            return False
        handle = self.next.open(token, self._root, folder, OpenHow(Access.READ, directory=True, follow=False))
        try:
            names = [entry.name for entry in self.next.readdir(token, handle)]
        finally:
            self.next.close(token, handle)
        if not all(map(is_header_name, names)):
            return False
        for name in names:
            self.next.unlink(token, self._root, f"{folder}/{name}")
        return True

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename, with the header file; that of what was replaced goes."""
        self._refuse(source)
        self._refuse(target, errno.EACCES)
        before, after = self._full(source_directory, source), self._full(target_directory, target)
        stat = self.next.stat(token, source_directory, source)
        with self.turn(stat.dev, stat.ino):
            header = self._header_beside(token, before)
            replaced = self._header_beside(token, after) if replace else None
            self.next.rename(token, source_directory, source, target_directory, target, replace)
            self._paths.moved(before, after, st.S_ISDIR(stat.mode))
            with contextlib.suppress(OSError):
                if replaced is not None:
                    self._files.remove(replaced)
                if header is not None:
                    self._files.move(header, after)

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries that are not hidden."""
        entries = self.next.readdir(token, handle, with_attributes)
        return (entry for entry in entries if not is_header_name(entry.name)) if self._hides else entries

    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """What happens to header files is nobody's business where they are hidden."""
        return self.next.watch_changes(token, handle, query.without(is_header_name) if self._hides else query)

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits, also those of the header file."""
        self.next.fchmod(token, handle, mode)
        self._on_header(token, handle, "fchmod", mode & 0o666 | 0o600)

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group, also those of the header file."""
        header = self._header(token, handle) if self._has_files else None
        self.next.fchown(token, handle, uid, gid)
        self._files.apply(header, "fchown", uid, gid)

    def _on_header(self, token: ImpersonationToken, handle: VfsHandle, operation: str, *arguments: int) -> None:
        if self._has_files and not handle.is_directory:
            self._files.apply(self._header(token, handle), operation, *arguments)
