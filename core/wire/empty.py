"""The body without content: StructureSize 4 and two reserved bytes.

LOGOFF, TREE_DISCONNECT, ECHO, CANCEL and the responses to FLUSH and LOCK have it (MS-SMB2 2.2.7 and others).
"""

from struct import Struct
from typing import Final

from lamina.core.wire.fields import unpack_body

_EMPTY = Struct("<HH")
_EMPTY_SIZE: Final = 4
_BODY: Final = _EMPTY.pack(_EMPTY_SIZE, 0)


def decode_empty(message: memoryview, what: str) -> None:
    """Check that `message` has the empty body; Reserved is ignored."""
    unpack_body(_EMPTY, message, _EMPTY_SIZE, what)


def encode_empty() -> bytes:
    """The empty body."""
    return _BODY
