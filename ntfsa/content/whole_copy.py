"""Copying a file with its named streams in one request, as macOS asks for it (WHOLE_COPIES)."""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa.borders import translated
from lamina.ntfsa.content.range_copy import PIECE, Copied, CopyRange, copy_ranges
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.open_state import NtOpen
from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.operations import Access, OpenHow

if TYPE_CHECKING:
    from lamina.vfs_modules.token import ImpersonationToken

_READ: Final = OpenHow(Access.READ)
_WRITE: Final = OpenHow(Access.READ_WRITE, create=True)


@translated
def copy_whole(context: NtContext, source: NtOpen, target: NtOpen) -> Copied:
    """Copy the data, then each named stream; `require_copyable` has been asked. `total`: bytes of data.

    Raises what stops the copy of a stream.
    """
    size = source.chain.fstat(context.token, source.data).size
    copied = copy_ranges(context, source, target, [CopyRange(0, 0, size)] if size else [])
    if not source.stream and not target.stream and copied.status == 0 and source.volume.has_streams:
        for stream in source.volume.whole_chain.list_streams(context.token, source.handle):
            _copy_stream(context.token, source, target, stream.name)
    return copied


def _copy_stream(token: "ImpersonationToken", source: "NtOpen", target: "NtOpen", name: str) -> None:
    reading, writing = source.volume.whole_chain, target.volume.whole_chain
    data = reading.open_stream(token, source.handle, name, _READ)
    try:
        copy = writing.open_stream(token, target.handle, name, _WRITE)
        try:
            writing.ftruncate(token, copy, 0)
            buffer, offset = memoryview(bytearray(PIECE)), 0
            while count := reading.pread(token, data, buffer, offset):
                offset += writing.pwrite(token, copy, buffer[:count], offset)
                breathe()
        finally:
            writing.close(token, copy)
    finally:
        reading.close(token, data)
