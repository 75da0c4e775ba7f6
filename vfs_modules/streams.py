"""Open streams that a module keeps itself, in whatever it likes: what such a module writes, and how the chain finds it.

A module that stores named streams (MS-FSCC 2.1.5.3) as files below, or a backend that has them, returns ordinary
handles from `open_stream` and needs nothing of this. One that keeps them elsewhere sets `keeps_streams`, derives from
`StreamFile`, and returns `StreamHandle(file)`; the chain then sends what is done with that handle's data to the file.
The handles of files never pass here: they cost what they cost without streams.
"""

import errno
import os
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, NoReturn

from lamina.vfs_modules.handle import StreamHandle, VfsHandle
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.token import ImpersonationToken

_NOTHING: Final = FileStat(0, 0, 0o100600, 1, 0, 0, 0, 0, 0, 0, 0, None)


class StreamFile:
    """The data of one open of a stream. Each method is the operation of its name on this stream's handle."""

    def pread(self, token: ImpersonationToken, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; the bytes read, fewer than asked only at the end."""
        _unsupported("pread")

    def pwrite(self, token: ImpersonationToken, data: memoryview, offset: int) -> int:
        """Write all of `data`; a gap before it is zeros. ENOSPC or EFBIG where there is no room for it."""
        _unsupported("pwrite")

    def ftruncate(self, token: ImpersonationToken, length: int) -> None:
        """Set the end; new bytes are zeros."""
        _unsupported("ftruncate")

    def size(self, token: ImpersonationToken) -> int:
        """The bytes in the stream."""
        _unsupported("fstat")

    def allocated(self, token: ImpersonationToken, size: int) -> int:
        """The bytes that a stream of `size` bytes takes; by default as many."""
        return size

    def fallocate(self, token: ImpersonationToken, offset: int, length: int) -> None:
        """Reserve space; callers do without."""
        _unsupported("fallocate")

    def zero_range(self, token: ImpersonationToken, offset: int, length: int, deallocate: bool) -> None:
        """Let a range read as zeros; callers write zeros instead."""
        _unsupported("zero_range")

    def allocated_ranges(
        self, token: ImpersonationToken, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        """The parts that are no holes; callers take all of it for allocated."""
        _unsupported("allocated_ranges")

    def fsync(self, token: ImpersonationToken, data_only: bool = False) -> None:
        """Return when what was written is on stable storage; by default it is at once."""

    def fstat(self, token: ImpersonationToken) -> FileStat:
        """A stat of which size and allocated count."""
        size = self.size(token)
        return _NOTHING._replace(size=size, allocated=self.allocated(token, size))

    def close(self, token: ImpersonationToken) -> None:
        """The handle is given back."""


def _unsupported(name: str) -> NoReturn:
    raise OSError(errno.ENOTSUP, f"{os.strerror(errno.ENOTSUP)}: {name} on a stream")


def _ask(name: str) -> Callable[..., Any]:
    def ask(token: ImpersonationToken, handle: StreamHandle, *arguments: Any, **keywords: Any) -> Any:
        return getattr(handle.file, name)(token, *arguments, **keywords)

    return ask


def _between(*_: Any) -> NoReturn:
    # Of two handles at least one is such a stream's: whoever asked reads and writes instead.
    _unsupported("between files")


_BETWEEN: Final = frozenset({"copy_range", "clone_range"})
_WITHIN: Final = (
    "pread", "pwrite", "ftruncate", "fallocate", "zero_range", "allocated_ranges", "fsync", "fstat", "close",
)  # fmt: skip
ON_STREAMS: Final = MappingProxyType({name: _ask(name) for name in _WITHIN} | dict.fromkeys(_BETWEEN, _between))
"""What is called for the handles of streams at the height of a module that keeps them itself, by operation."""


def either(name: str, of_files: Callable[..., Any], of_streams: Callable[..., Any]) -> Callable[..., Any]:
    """One function of operation `name` for both kinds of handles; the function itself where both are the same."""
    if of_files == of_streams:
        return of_files

    def call(token: ImpersonationToken, handle: VfsHandle, *arguments: Any, **keywords: Any) -> Any:
        is_stream = handle.__class__ is StreamHandle
        if name in _BETWEEN:
            is_stream = is_stream or arguments[1].__class__ is StreamHandle
        return (of_streams if is_stream else of_files)(token, handle, *arguments, **keywords)

    return call
