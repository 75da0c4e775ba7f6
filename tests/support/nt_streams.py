"""Shares with named streams, over each way of keeping them, and short forms of looking at what they hold."""

import struct
from collections.abc import Callable

from lamina.ntfsa import constants as c
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.streams_depot import StreamsDepotModule
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from tests.ntfsa.conftest import Share

KEEPERS: dict[str, Callable[[], list[VfsModule]]] = {
    "xattr": lambda: [StreamsXattrModule()],
    "depot": lambda: [StreamsDepotModule()],
    "memory": lambda: [DosAttributesModule(), MemoryBackend()],
}
READ_ONLY = c.FILE_READ_DATA | c.FILE_READ_ATTRIBUTES | c.SYNCHRONIZE


def streams(share: Share, path: str = "file", room: int = 65536) -> dict[str, tuple[int, int]]:
    """FileStreamInformation: size and allocation by name."""
    opened = share.open(path, desired_access=c.FILE_READ_ATTRIBUTES)
    found = parse_streams(share.query(opened, c.FILE_STREAM_INFORMATION, room))
    share.close(opened)
    return found


def parse_streams(data: bytes) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    offset = 0
    while data:
        following, length, size, allocated = struct.unpack_from("<IIqq", data, offset)
        found[data[offset + 24 : offset + 24 + length].decode("utf-16-le", "surrogatepass")] = (size, allocated)
        if not following:
            break
        offset += following
    return found


def contents(share: Share, path: str) -> bytes:
    opened = share.open(path, desired_access=READ_ONLY)
    size = struct.unpack_from("<q", share.query(opened, c.FILE_STANDARD_INFORMATION), 8)[0]
    data = share.read(opened, size + 1) if size else b""
    share.close(opened)
    assert len(data) == size
    return data
