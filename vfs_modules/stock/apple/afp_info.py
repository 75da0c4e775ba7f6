"""AFP_AfpInfo: the named stream of 60 bytes in which Macs keep what the Finder knows of a file.

Signature, version, a reserved word and the backup time, all big-endian; 32 bytes of Finder information; 6 bytes for
ProDOS and 6 reserved. Times are seconds since 2000-01-01 UTC.
"""

from struct import Struct
from typing import Final, NamedTuple

STREAM: Final = "AFP_AfpInfo"
"""The name of the stream."""

SIZE: Final = 60
"""Bytes of the stream, always."""

FINDER_OFFSET: Final = 16
FINDER_SIZE: Final = 32
NO_FINDER: Final = bytes(FINDER_SIZE)
NEVER: Final = 0x80000000
"""The backup time of a file that was never backed up."""

_LAYOUT: Final = Struct(">4sIII32s12x")
_SIGNATURE: Final = b"AFP\0"
_VERSION: Final = 0x00000100


class AfpInfo(NamedTuple):
    """What the stream says. Without Finder information there is nothing to keep, and no stream."""

    finder: bytes = NO_FINDER
    backup_time: int = NEVER

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep."""
        return self.finder == NO_FINDER


def pack(info: AfpInfo) -> bytes:
    """The stream."""
    return _LAYOUT.pack(_SIGNATURE, _VERSION, 0, info.backup_time, info.finder)


def parse(data: bytes) -> AfpInfo | None:
    """What a stream says; None for anything else."""
    return of_any(data) if len(data) == SIZE and data.startswith(_SIGNATURE) else None


def of_any(data: bytes) -> AfpInfo:
    """What `SIZE` bytes say where the information is, whatever they begin with."""
    _, _, _, backup_time, finder = _LAYOUT.unpack(data)
    return AfpInfo(finder, backup_time)


def in_entry(finder: bytes, is_file: bool, created: int) -> bytes:
    """The 16 bytes of it that an enriched directory entry has room for; `created`: Mac time, of the date added.

    Type and creator of a file, the Finder's flags, its extended flags, and when it was added.
    """
    head = finder[:8] if is_file else bytes(8)
    return head + finder[8:10] + finder[24:26] + (created & 0xFFFFFFFF).to_bytes(4, "big")
