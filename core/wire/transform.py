"""The transform header of an encrypted message (MS-SMB2 2.2.41 SMB2 TRANSFORM_HEADER).

Only its layout; `lamina.core.crypto.sealing` encrypts and decrypts.
"""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import TRANSFORM_PROTOCOL_ID
from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import unpack_at

TRANSFORM_HEADER_SIZE: Final = 52
ENCRYPTED: Final = 0x0001
"""Flags of 3.1.1; in 3.0 and 3.0.2 the same field and value say AES-128-CCM."""

_HEADER = Struct("<4s16s16sIHHQ")

TRANSFORM_SESSION_ID_AT: Final = 44
transform_session_id: Final = Struct("<Q").unpack_from
"""(message, TRANSFORM_SESSION_ID_AT) → SessionId, for whoever wants nothing else; nothing is checked."""


class TransformHeader(NamedTuple):
    """The fields; `original_message_size` in bytes, without this header."""

    signature: bytes
    nonce: bytes
    original_message_size: int
    session_id: int
    flags: int = ENCRYPTED


def decode_transform_header(message: memoryview) -> TransformHeader:
    """The transform header of `message`, which must hold exactly what the header announces."""
    protocol, signature, nonce, size, _, flags, session_id = unpack_at(_HEADER, message, 0, "transform header")
    if protocol != TRANSFORM_PROTOCOL_ID:
        raise WireError(f"ProtocolId {protocol!r} is not that of an encrypted message")
    if flags != ENCRYPTED:
        raise WireError(f"transform header with Flags {flags:#06x}")
    if size != len(message) - TRANSFORM_HEADER_SIZE:
        raise WireError(f"OriginalMessageSize {size}, but {len(message) - TRANSFORM_HEADER_SIZE} bytes follow")
    return TransformHeader(signature, nonce, size, session_id, flags)


def encode_transform_header(header: TransformHeader) -> bytes:
    """The 52 bytes of a transform header."""
    return _HEADER.pack(
        TRANSFORM_PROTOCOL_ID,
        header.signature,
        header.nonce,
        header.original_message_size,
        0,
        header.flags,
        header.session_id,
    )
