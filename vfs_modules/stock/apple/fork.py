"""AFP_Resource: the resource fork as a named stream, kept in the header file beside its file.

A fork without a byte is not there: it is made by writing to it, and gone when it is cut to nothing, whoever has it
open. The header file is made with its first byte, and stays.
"""

import errno
import os
from collections.abc import Callable
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Operations
from lamina.vfs_modules.stock.apple.appledouble import FORK_OFFSET, MAX_FORK
from lamina.vfs_modules.stock.apple.header_files import HeaderFiles
from lamina.vfs_modules.streams import StreamFile
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

STREAM: Final = "AFP_Resource"
"""The name of the stream."""

Opener = Callable[[ImpersonationToken, bool], VfsHandle | None]
"""Opens the header file, and makes it where that is wanted; None where there is none."""


class ForkStream(StreamFile):
    """One open of a resource fork; its header file is opened when it is needed.

    `turn`: that of its file, in which the header file is told how long the fork is.
    """

    def __init__(self, below: Operations, files: HeaderFiles, opener: Opener, access: Access, turn: Turn) -> None:
        self._below = below
        self._files = files
        self._opener = opener
        self._access = access
        self._turn = turn
        self._handle: VfsHandle | None = None

    def _opened(self, token: ImpersonationToken, create: bool = False) -> VfsHandle | None:
        if self._handle is None:
            self._handle = self._opener(token, create)
        return self._handle

    def _require(self, access: Access) -> None:
        if not self._access & access:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), STREAM)

    def pread(self, token: ImpersonationToken, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`."""
        self._require(Access.READ)
        handle = self._opened(token)
        return 0 if handle is None else self._below.pread(token, handle, buffer, FORK_OFFSET + offset)

    def pwrite(self, token: ImpersonationToken, data: memoryview, offset: int) -> int:
        """Write all of `data`."""
        self._require(Access.WRITE)
        if not data:
            return 0
        end = offset + len(data)
        self._check_size(end)
        handle = self._opened(token, True)
        assert handle is not None
        before = self._size_of(handle)
        count = self._below.pwrite(token, handle, data, FORK_OFFSET + offset)
        if end > before:
            self._note_length(handle)
        return count

    def _note_length(self, handle: VfsHandle) -> None:
        # As it is: others may have made it longer meanwhile.
        with self._turn:
            self._files.note_length(handle, self._size_of(handle))

    def ftruncate(self, token: ImpersonationToken, length: int) -> None:
        """Set the end."""
        self._require(Access.WRITE)
        self._check_size(length)
        handle = self._opened(token, length > 0)
        if handle is not None:
            self._below.ftruncate(token, handle, FORK_OFFSET + length)
            self._note_length(handle)

    def _check_size(self, size: int) -> None:
        if size > MAX_FORK:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), STREAM)

    def _size_of(self, handle: VfsHandle) -> int:
        return max(self._below.fstat(SERVER_TOKEN, handle).size - FORK_OFFSET, 0)

    def size(self, token: ImpersonationToken) -> int:
        """The bytes in the fork."""
        handle = self._opened(token)
        return 0 if handle is None else self._size_of(handle)

    def fsync(self, token: ImpersonationToken, data_only: bool = False) -> None:
        """Return when the fork is on stable storage."""
        if self._handle is not None:
            self._below.fsync(token, self._handle, data_only)

    def close(self, token: ImpersonationToken) -> None:
        """Give the header file back."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._below.close(token, handle)
