"""ECHO, READ and WRITE as `core.short_way` takes and gives them: whole messages, without an object for any of it.

The same layouts as in `header`, `echo`, `read` and `write` (MS-SMB2 2.2.1.2, 2.2.19 to 2.2.22, 2.2.28, 2.2.29), which
decode and encode everything else, and are what a test holds these to. What `unpack_…` gives is not checked.
"""

from struct import Struct, pack
from typing import Final

from lamina.core.wire.constants import FLAGS_PRIORITY_MASK, FLAGS_SERVER_TO_REDIR, FLAGS_SIGNED, HEADER_SIZE
from lamina.core.wire.header import PROTOCOL_NUMBER

PLAIN_FLAGS: Final = FLAGS_SIGNED | FLAGS_PRIORITY_MASK
"""The flags of a request that is alone in its message, not sent again, and waits for its answer."""

unpack_header: Final = Struct("<IHHIHHIIQQQ").unpack_from
"""(message) → ProtocolId, StructureSize, CreditCharge, ChannelSequence, Command, CreditRequest, Flags, NextCommand,
MessageId, Reserved and TreeId, SessionId."""

unpack_read: Final = Struct("<HBBIQQQIIIHH").unpack_from
"""(message, 64) → StructureSize, Padding, Flags, Length, Offset, FileId (two), MinimumCount, Channel, RemainingBytes,
ReadChannelInfoOffset, ReadChannelInfoLength."""

unpack_write: Final = Struct("<HHIQQQIIHHI").unpack_from
"""(message, 64) → StructureSize, DataOffset, Length, Offset, FileId (two), Channel, RemainingBytes,
WriteChannelInfoOffset, WriteChannelInfoLength, Flags."""

READ_REQUEST_SIZE: Final = 49
WRITE_REQUEST_SIZE: Final = 49
ECHO_REQUEST_SIZE: Final = 4
WRITE_DATA_OFFSET: Final = HEADER_SIZE + 48

_HEADER: Final = "6sH4xHHI4xQ4xIQ16x"
_READ: Final = Struct(f"<{_HEADER}4sI8x").pack_into
_WRITE: Final = Struct(f"<{_HEADER}4sI8x").pack_into
_ECHO: Final = Struct(f"<{_HEADER}4s").pack_into

READ_REPLY: Final = HEADER_SIZE + 16
"""Bytes of a READ response before its data."""

WRITE_REPLY: Final = HEADER_SIZE + 16
ECHO_REPLY: Final = HEADER_SIZE + 4

Fields = tuple[int, ...]
"""What `unpack_header` gives."""


REPLY: Final = FLAGS_SERVER_TO_REDIR
SIGNED_REPLY: Final = FLAGS_SERVER_TO_REDIR | FLAGS_SIGNED
"""The flags of replies."""

_BEGIN: Final = pack("<IH", PROTOCOL_NUMBER, HEADER_SIZE)
_READ_BODY: Final = pack("<HBB", 17, READ_REPLY, 0)
_WRITE_BODY: Final = pack("<HH", 17, 0)
_ECHO_BODY: Final = pack("<HH", 4, 0)


def pack_read(buffer: bytearray | memoryview, at: int, asked: Fields, granted: int, flags: int, count: int) -> None:
    """Write the READ_REPLY bytes before `count` bytes of data, in answer to a request with the header `asked`."""
    _READ(
        buffer, at, _BEGIN, asked[2], asked[4], granted, flags, asked[8], asked[9] >> 32, asked[10], _READ_BODY, count
    )  # fmt: skip


def pack_write(buffer: bytearray, at: int, asked: Fields, granted: int, flags: int, count: int) -> None:
    """Write a WRITE response."""
    _WRITE(
        buffer, at, _BEGIN, asked[2], asked[4], granted, flags, asked[8], asked[9] >> 32, asked[10], _WRITE_BODY, count
    )  # fmt: skip


def pack_echo(buffer: bytearray, at: int, asked: Fields, granted: int, flags: int) -> None:
    """Write an ECHO response."""
    _ECHO(buffer, at, _BEGIN, asked[2], asked[4], granted, flags, asked[8], asked[9] >> 32, asked[10], _ECHO_BODY)
