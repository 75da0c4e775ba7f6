"""CREATE, CLOSE and QUERY_INFO as `core.short_files` takes and gives them, without an object for header and fields.

The same layouts as in `header`, `close` and `query_info` (MS-SMB2 2.2.1.2, 2.2.15, 2.2.37), which decode and encode
everything else, and are what a test holds these to. What `unpack_…` gives is not checked.
"""

from struct import Struct
from typing import Final

from lamina.core.wire.constants import FLAGS_SERVER_TO_REDIR, HEADER_SIZE
from lamina.core.wire.header import PROTOCOL_NUMBER
from lamina.core.wire.short import Fields

CLOSE_REQUEST_SIZE: Final = 24
QUERY_INFO_REQUEST_SIZE: Final = 41

unpack_close: Final = Struct("<HHIQQ").unpack_from
"""(message, 64) → StructureSize, Flags, Reserved, FileId (two)."""

unpack_query_info: Final = Struct("<HBBIHHIIIQQ").unpack_from
"""(message, 64) → StructureSize, InfoType, FileInfoClass, OutputBufferLength, InputBufferOffset, Reserved,
InputBufferLength, AdditionalInformation, Flags, FileId (two)."""

_REPLY: Final = Struct("<IHHIHHIIQQQ16x").pack_into


def pack_reply(buffer: bytearray, at: int, asked: Fields, granted: int, flags: int, status: int) -> None:
    """Write the header of a reply to a request with the header `asked`, its signature zero."""
    _REPLY(
        buffer, at, PROTOCOL_NUMBER, HEADER_SIZE, asked[2], status, asked[4], granted, flags | FLAGS_SERVER_TO_REDIR, 0,
        asked[8], asked[9] >> 32 << 32, asked[10],
    )  # fmt: skip
