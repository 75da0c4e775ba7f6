"""Named streams in extended attributes, in the form of Samba's module of this name and with its options.

A stream is the attribute user.DosStream.NAME:$DATA. Its value is the data and one byte more, for there is no attribute
without a value: 0, or how many further attributes (user.DosStreamExt.1.NAME:$DATA and so on) hold the rest of what one
has no room for. A write reads the value, changes it and stores it whole; a gap is zeros, never what was in memory
before.
"""

import errno
from typing import ClassVar

from lamina.vfs_modules.forms.stream_values import NO_ATTRIBUTES, StreamsXattrOptions, StreamValues, fail
from lamina.vfs_modules.handle import StreamHandle, VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access, Capability, OpenHow, StreamEntry
from lamina.vfs_modules.private_attributes import PrivateAttributes
from lamina.vfs_modules.streams import StreamFile
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn


class StreamsXattrModule(PrivateAttributes):
    """Keeps named streams beside the file."""

    Options = StreamsXattrOptions
    name: ClassVar[str] = "streams_xattr"
    provides: ClassVar[tuple[str, ...]] = ("streams",)
    before: ClassVar[tuple[str, ...]] = ("security",)
    conflicts: ClassVar[tuple[str, ...]] = ("streams_depot",)
    keeps_streams: ClassVar[bool] = True

    options: StreamsXattrOptions

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Know what is below."""
        self._values = StreamValues(self.next, self.options)

    def capabilities(self, below: Capability) -> Capability:
        """Streams, where there are extended attributes to keep them in."""
        return below | Capability.STREAMS if Capability.XATTRS in below else below

    # Streams.

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open or create a stream."""
        turn, values = self._turn_of(token, handle), self._values
        with turn:
            if values.is_there(token, handle, name):
                if how.create and how.exclusive:
                    fail(errno.EEXIST, name)
            elif how.create:
                values.create(token, handle, name)
            else:
                fail(errno.ENOENT, name)
        return StreamHandle(_XattrStream(values, handle, name, how.access, turn))

    def _turn_of(self, token: ImpersonationToken, handle: VfsHandle) -> Turn:
        stat = self.next.fstat(token, handle)
        return self.turn(stat.dev, stat.ino)

    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The streams with their sizes, which are nobody's secret."""
        try:
            attributes = self.next.listxattr(token, handle)
        except OSError as error:
            if error.errno not in NO_ATTRIBUTES:
                raise
            return []
        names = list(filter(None, map(self._values.name_in, attributes)))
        if not names or not self._values.spans:
            return self._entries(token, handle, names)
        with self._turn_of(token, handle):
            return self._entries(token, handle, names)

    def _entries(self, token: ImpersonationToken, handle: VfsHandle, names: list[str]) -> list[StreamEntry]:
        entries = []
        for name in names:
            try:
                size = len(self._values.value(token, handle, name))
            except FileNotFoundError:
                continue  # it has just been removed
            except PermissionError:
                size = len(self._values.value(SERVER_TOKEN, handle, name))
            entries.append(StreamEntry(name, size, size))
        return entries

    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a stream."""
        with self._turn_of(token, handle):
            self._values.remove(token, handle, name)

    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Store the stream under its new name, then remove the old one."""
        with self._turn_of(token, handle):
            value = self._values.value(token, handle, source)
            if source == target:
                return
            if not replace and self._values.is_there(token, handle, target):
                fail(errno.EEXIST, target)
            self._values.store(token, handle, target, value)
            self._values.remove(token, handle, source)

    def _is_private(self, name: str) -> bool:
        return name.startswith(self._values.prefixes)


class _XattrStream(StreamFile):
    """One open of a stream. `turn` is that of the file: a change is not begun before the last one has ended."""

    def __init__(self, values: StreamValues, file: VfsHandle, name: str, access: Access, turn: Turn) -> None:
        self._values = values
        self._file = file
        self._name = name
        self._access = access
        self._turn = turn

    def _require(self, access: Access) -> None:
        if not self._access & access:
            fail(errno.EBADF, self._name)

    def _read(self, token: ImpersonationToken) -> bytes:
        return self._values.value(token, self._file, self._name)

    def _read_whole(self, token: ImpersonationToken) -> bytes:
        """The value as it was between two changes."""
        if not self._values.spans:
            return self._read(token)
        with self._turn:
            return self._read(token)

    def pread(self, token: ImpersonationToken, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`."""
        self._require(Access.READ)
        part = self._read_whole(token)[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def pwrite(self, token: ImpersonationToken, data: memoryview, offset: int) -> int:
        """Write all of `data`."""
        self._require(Access.WRITE)
        if not data:
            return 0  # which is no growth
        end = offset + len(data)
        self._check_size(end)
        with self._turn:
            value = bytearray(self._read(token))
            value.extend(bytes(max(end - len(value), 0)))
            value[offset:end] = data
            self._values.store(token, self._file, self._name, value)
        return len(data)

    def ftruncate(self, token: ImpersonationToken, length: int) -> None:
        """Set the end."""
        self._require(Access.WRITE)
        self._check_size(length)
        with self._turn:
            value = bytearray(self._read(token)[:length])
            value.extend(bytes(length - len(value)))
            self._values.store(token, self._file, self._name, value)

    def _check_size(self, size: int) -> None:
        # Before anything of that size is made.
        if size > self._values.capacity:
            fail(errno.EFBIG, self._name)

    def size(self, token: ImpersonationToken) -> int:
        """The bytes in the stream."""
        try:
            return len(self._read_whole(token))
        except PermissionError:
            return len(self._read_whole(SERVER_TOKEN))

    def fsync(self, token: ImpersonationToken, data_only: bool = False) -> None:
        """Attributes go with their file, whoever may open that."""
        self._values.below.fsync(SERVER_TOKEN, self._file)
