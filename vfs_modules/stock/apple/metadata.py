"""The Finder information of files: where it is kept, and the named stream AFP_AfpInfo that clients see.

That stream has always 60 bytes. One with nothing in it is not there: it is made by writing Finder information to it,
and deleted by writing none.
"""

import contextlib
import errno
import os
from typing import Final, Protocol

from lamina.vfs_modules.extensions import StatusError
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, OpenHow, Operations
from lamina.vfs_modules.stock.apple import afp_info, netatalk
from lamina.vfs_modules.stock.apple.afp_info import AfpInfo
from lamina.vfs_modules.streams import StreamFile
from lamina.vfs_modules.token import ImpersonationToken
from lamina.vfs_modules.turn import Turn

_ALLOTTED_SPACE_EXCEEDED: Final = 0xC0000099
_NOTHING: Final = frozenset({errno.ENODATA, errno.ENOENT, errno.ENOTSUP, errno.EPERM, errno.ELOOP})
_MAGIC: Final = b"AFP"
_READ: Final = OpenHow(Access.READ)
_WRITE: Final = OpenHow(Access.READ_WRITE, create=True)


class MetadataStore(Protocol):
    """Where Finder information is kept."""

    def load(self, token: ImpersonationToken, handle: VfsHandle) -> AfpInfo | None:
        """That of a file; None where there is none, or nothing that is any."""
        ...

    def store(self, token: ImpersonationToken, handle: VfsHandle, info: AfpInfo) -> None:
        """Keep it."""
        ...

    def remove(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Keep none any more; harmless where there is none."""
        ...


class NetatalkMetadata:
    """In Netatalk's extended attribute."""

    def __init__(self, below: Operations) -> None:
        self._below = below

    def _value(self, token: ImpersonationToken, handle: VfsHandle) -> bytes | None:
        try:
            return self._below.getxattr(token, handle, netatalk.ATTRIBUTE)
        except OSError as error:
            if error.errno not in _NOTHING:
                raise
            return None

    def load(self, token: ImpersonationToken, handle: VfsHandle) -> AfpInfo | None:
        """The attribute's Finder information, where it has some."""
        value = self._value(token, handle)
        info = netatalk.parse(value) if value is not None else None
        return None if info is None or info.is_empty else info

    def store(self, token: ImpersonationToken, handle: VfsHandle, info: AfpInfo) -> None:
        """Change the attribute, or make it."""
        value = netatalk.updated(self._value(token, handle), info)
        self._below.setxattr(token, handle, netatalk.ATTRIBUTE, value)

    def remove(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Remove the attribute."""
        try:
            self._below.removexattr(token, handle, netatalk.ATTRIBUTE)
        except OSError as error:
            if error.errno not in _NOTHING:
                raise


class StreamMetadata:
    """As the named stream that it is to clients."""

    def __init__(self, below: Operations) -> None:
        self._below = below

    def load(self, token: ImpersonationToken, handle: VfsHandle) -> AfpInfo | None:
        """What the stream says."""
        try:
            stream = self._below.open_stream(token, handle, afp_info.STREAM, _READ)
        except OSError as error:
            if error.errno not in _NOTHING:
                raise
            return None
        try:
            buffer = bytearray(afp_info.SIZE + 1)
            count = self._below.pread(token, stream, memoryview(buffer), 0)
        finally:
            self._below.close(token, stream)
        info = afp_info.parse(bytes(buffer[:count]))
        return None if info is None or info.is_empty else info

    def store(self, token: ImpersonationToken, handle: VfsHandle, info: AfpInfo) -> None:
        """Write the stream."""
        stream = self._below.open_stream(token, handle, afp_info.STREAM, _WRITE)
        try:
            self._below.pwrite(token, stream, memoryview(afp_info.pack(info)), 0)
            self._below.ftruncate(token, stream, afp_info.SIZE)
        finally:
            self._below.close(token, stream)

    def remove(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Remove the stream."""
        with contextlib.suppress(FileNotFoundError):
            self._below.remove_stream(token, handle, afp_info.STREAM)


class MetadataStream(StreamFile):
    """One open of AFP_AfpInfo. `turn`: that of its file, in which what is kept of it is changed."""

    def __init__(self, store: MetadataStore, file: VfsHandle, access: Access, turn: Turn) -> None:
        self._store = store
        self._file = file
        self._access = access
        self._turn = turn

    def _require(self, access: Access) -> None:
        if not self._access & access:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), afp_info.STREAM)

    def _data(self, token: ImpersonationToken) -> bytes:
        return afp_info.pack(self._store.load(token, self._file) or AfpInfo())

    def pread(self, token: ImpersonationToken, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`; where there is nothing yet, with what says so.

        From anywhere within it, the stream is read from its beginning: so do Macs serve it, and so they read it.
        """
        self._require(Access.READ)
        part = self._data(token)[: len(buffer)] if offset <= afp_info.SIZE else b""
        buffer[: len(part)] = part
        return len(part)

    def pwrite(self, token: ImpersonationToken, data: memoryview, offset: int) -> int:
        """Write all of `data`, from the beginning, wherever it is written to. EINVAL for what is not of the form.

        What ends before the Finder information changes nothing. All this is as on a Mac.
        """
        self._require(Access.WRITE)
        if not data:
            return 0
        if bytes(data[: len(_MAGIC)]) != _MAGIC or (offset and len(data) < afp_info.SIZE):
            raise OSError(errno.EINVAL, "not Finder information", afp_info.STREAM)
        if len(data) <= afp_info.FINDER_OFFSET:
            return len(data)
        info = afp_info.of_any(bytes(data[: afp_info.SIZE]).ljust(afp_info.SIZE, b"\0"))
        with self._turn:
            if info.is_empty:
                self._store.remove(token, self._file)
            else:
                self._store.store(token, self._file, info)
        return len(data)

    def ftruncate(self, token: ImpersonationToken, length: int) -> None:
        """Do nothing: the stream has one size."""
        self._require(Access.WRITE)
        if length > afp_info.SIZE:
            raise StatusError(_ALLOTTED_SPACE_EXCEEDED, f"{afp_info.STREAM} has {afp_info.SIZE} bytes")

    def size(self, token: ImpersonationToken) -> int:
        """Its one size."""
        return afp_info.SIZE
