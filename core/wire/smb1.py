"""The SMB1 NEGOTIATE with which a client may begin (MS-SMB2 2.2.1 and 3.3.5.3.1 SMB 2.??? Support).

Nothing else of SMB1 is understood: only the dialect strings are read (MS-CIFS 2.2.4.52.1 Request).
"""

from struct import Struct
from typing import Final

from lamina.core.wire.constants import SMB1_PROTOCOL_ID
from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import unpack_at

SMB_2_002: Final = "SMB 2.002"
SMB_2_WILDCARD: Final = "SMB 2.???"

_HEADER = Struct("<4sB27x")
_NEGOTIATE: Final = 0x72
_BODY = Struct("<BH")
_DIALECT: Final = 0x02


def decode_smb1_negotiate_request(message: memoryview) -> list[str]:
    """The dialect strings that an SMB1 NEGOTIATE offers. Raises WireError for any other SMB1 message."""
    protocol, command = unpack_at(_HEADER, message, 0, "SMB1 header")
    if protocol != SMB1_PROTOCOL_ID or command != _NEGOTIATE:
        raise WireError(f"an SMB1 message that is no NEGOTIATE (command {command:#04x})")
    words, length = unpack_at(_BODY, message, _HEADER.size, "SMB1 NEGOTIATE")
    start = _HEADER.size + _BODY.size
    if words:
        raise WireError(f"SMB1 NEGOTIATE with {words} parameter words")
    if start + length > len(message):
        raise WireError(f"SMB1 NEGOTIATE announces {length} bytes, {len(message) - start} follow")
    return _dialects(bytes(message[start : start + length]))


def _dialects(data: bytes) -> list[str]:
    if not data.endswith(b"\0"):
        raise WireError("SMB1 NEGOTIATE whose list of dialects does not end with a NUL")
    names = []
    for entry in data[:-1].split(b"\0"):
        if entry[:1] != bytes((_DIALECT,)):
            raise WireError("SMB1 NEGOTIATE with a dialect that does not begin with buffer format 2")
        names.append(entry[1:].decode("latin-1"))
    return names


def encode_smb1_negotiate_request(dialects: list[str]) -> bytes:
    """The whole message, header included."""
    data = b"".join(bytes((_DIALECT,)) + name.encode("latin-1") + b"\0" for name in dialects)
    return _HEADER.pack(SMB1_PROTOCOL_ID, _NEGOTIATE) + _BODY.pack(0, len(data)) + data
