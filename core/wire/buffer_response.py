"""The response that is one buffer: offset, length, data, StructureSize 9.

QUERY_DIRECTORY (MS-SMB2 2.2.34), CHANGE_NOTIFY (2.2.36) and QUERY_INFO (2.2.38) answer with it.
"""

from struct import Struct
from typing import Final

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.fields import take, unpack_body

_RESPONSE = Struct("<HHI")
_RESPONSE_SIZE: Final = 9
_OFFSET: Final = HEADER_SIZE + _RESPONSE.size


def encode_buffer_response(data: bytes | memoryview) -> bytes:
    """The body with `data`; an empty one has offset 0."""
    return _RESPONSE.pack(_RESPONSE_SIZE, _OFFSET if data else 0, len(data)) + data


def decode_buffer_response(message: memoryview, what: str) -> memoryview:
    """The data of the response."""
    offset, length = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, what)
    return take(message, offset, length, _OFFSET, "data of a " + what)
