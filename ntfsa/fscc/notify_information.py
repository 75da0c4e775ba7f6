"""What a directory's watcher is told of changes: FILE_NOTIFY_INFORMATION (MS-FSCC 2.7.1)."""

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

FILE_NOTIFY_CHANGE_FILE_NAME: Final = 0x00000001
FILE_NOTIFY_CHANGE_DIR_NAME: Final = 0x00000002
FILE_NOTIFY_CHANGE_ATTRIBUTES: Final = 0x00000004
FILE_NOTIFY_CHANGE_SIZE: Final = 0x00000008
FILE_NOTIFY_CHANGE_LAST_WRITE: Final = 0x00000010
FILE_NOTIFY_CHANGE_LAST_ACCESS: Final = 0x00000020
FILE_NOTIFY_CHANGE_CREATION: Final = 0x00000040
FILE_NOTIFY_CHANGE_EA: Final = 0x00000080
FILE_NOTIFY_CHANGE_SECURITY: Final = 0x00000100
FILE_NOTIFY_CHANGE_STREAM_NAME: Final = 0x00000200
FILE_NOTIFY_CHANGE_STREAM_SIZE: Final = 0x00000400
FILE_NOTIFY_CHANGE_STREAM_WRITE: Final = 0x00000800

WRITTEN: Final = FILE_NOTIFY_CHANGE_LAST_WRITE | FILE_NOTIFY_CHANGE_SIZE
"""What is told of a file whose data was written."""

FILE_ACTION_ADDED: Final = 1
FILE_ACTION_REMOVED: Final = 2
FILE_ACTION_MODIFIED: Final = 3
FILE_ACTION_RENAMED_OLD_NAME: Final = 4
FILE_ACTION_RENAMED_NEW_NAME: Final = 5
FILE_ACTION_ADDED_STREAM: Final = 6
FILE_ACTION_REMOVED_STREAM: Final = 7
FILE_ACTION_MODIFIED_STREAM: Final = 8

_ENTRY: Final = Struct("<III")


class NotifyRecord(NamedTuple):
    """One change: FILE_ACTION_* and the changed file's NT path from the watched directory."""

    action: int
    name: str


def packed_size(name: str) -> int:
    """The bytes that a record with this name takes, padding included."""
    return _ENTRY.size + ((len(name.encode("utf-16-le", "surrogatepass")) + 3) & ~3)


def pack_notify_information(records: Iterable[NotifyRecord]) -> bytes:
    """The records as a chain of FILE_NOTIFY_INFORMATION, every one padded to four bytes."""
    packed = bytearray()
    last = 0
    for action, name in records:
        last = len(packed)
        encoded = name.encode("utf-16-le", "surrogatepass")
        following = _ENTRY.size + ((len(encoded) + 3) & ~3)
        packed += _ENTRY.pack(following, action, len(encoded))
        packed += encoded.ljust(following - _ENTRY.size, b"\0")
    if packed:
        packed[last : last + 4] = bytes(4)
    return bytes(packed)
