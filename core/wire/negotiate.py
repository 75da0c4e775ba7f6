"""NEGOTIATE (MS-SMB2 2.2.3 SMB2 NEGOTIATE Request, 2.2.4 SMB2 NEGOTIATE Response); contexts: `negotiate_contexts`."""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import DIALECT_311, HEADER_SIZE
from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import align8, take, unpack_body
from lamina.core.wire.negotiate_contexts import (
    CompressionCapabilities,
    EncryptionCapabilities,
    NegotiateContext,
    NegotiateContexts,
    NetnameContext,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    RawContext,
    SigningCapabilities,
    TransportCapabilities,
    decode_negotiate_contexts,
    encode_negotiate_contexts,
)

__all__ = [
    "CompressionCapabilities",
    "EncryptionCapabilities",
    "NegotiateContext",
    "NegotiateContexts",
    "NegotiateRequest",
    "NegotiateResponse",
    "NetnameContext",
    "PosixExtensions",
    "PreauthIntegrityCapabilities",
    "RawContext",
    "SigningCapabilities",
    "TransportCapabilities",
    "decode_negotiate_request",
    "decode_negotiate_response",
    "encode_negotiate_request",
    "encode_negotiate_response",
]

# The last three fields are ClientStartTime where 3.1.1 is not offered.
_REQUEST = Struct("<HHHHI16sIHH")
_REQUEST_SIZE: Final = 36
_REQUEST_FIXED: Final = HEADER_SIZE + _REQUEST.size
_RESPONSE = Struct("<HHHH16sIIIIQQHHI")
_RESPONSE_SIZE: Final = 65
_RESPONSE_FIXED: Final = HEADER_SIZE + _RESPONSE.size


class NegotiateRequest(NamedTuple):
    """`contexts` are those of 3.1.1, empty where that is not offered; the properties name single ones."""

    dialects: tuple[int, ...]
    security_mode: int = 0
    capabilities: int = 0
    client_guid: bytes = bytes(16)
    contexts: NegotiateContexts = NegotiateContexts()

    @property
    def preauth(self) -> PreauthIntegrityCapabilities | None:
        """The preauthentication hash algorithms (2.2.3.1.1)."""
        return self.contexts.preauth

    @property
    def encryption(self) -> EncryptionCapabilities | None:
        """The ciphers (2.2.3.1.2)."""
        return self.contexts.encryption

    @property
    def signing(self) -> SigningCapabilities | None:
        """The signing algorithms (2.2.3.1.7)."""
        return self.contexts.signing

    @property
    def posix(self) -> PosixExtensions | None:
        """The versions of the POSIX extensions (POSIX-SMB2 2.2.3.1.8)."""
        return self.contexts.posix


class NegotiateResponse(NamedTuple):
    """Sizes in bytes, times as FILETIME; `security_buffer` is the acceptor's GSS hint."""

    security_mode: int
    dialect: int
    server_guid: bytes
    capabilities: int
    max_transact_size: int
    max_read_size: int
    max_write_size: int
    system_time: int
    server_start_time: int
    security_buffer: memoryview
    contexts: NegotiateContexts


def decode_negotiate_request(message: memoryview) -> NegotiateRequest:
    """Decode the request; the dialects must all be there, and of a 3.1.1 request the contexts well-formed."""
    what = "NEGOTIATE request"
    count, mode, _, capabilities, guid, offset, contexts_count, _ = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    listed = take(message, _REQUEST_FIXED, 2 * count, _REQUEST_FIXED, "dialects of a " + what)
    dialects = Struct(f"<{count}H").unpack(listed)
    contexts = NegotiateContexts()
    if DIALECT_311 in dialects:
        contexts = _contexts(message, offset, contexts_count, _REQUEST_FIXED + len(listed), what)
    return NegotiateRequest(dialects, mode, capabilities, guid, contexts)


def _contexts(message: memoryview, offset: int, count: int, first: int, what: str) -> NegotiateContexts:
    if not count:
        return NegotiateContexts()
    if not first <= offset <= len(message):
        raise WireError(f"contexts of a {what} at {offset}; they belong between {first} and {len(message)}")
    return decode_negotiate_contexts(message[offset:], count)


def encode_negotiate_request(request: NegotiateRequest, contexts: Sequence[NegotiateContext] = ()) -> bytes:
    """Encode the request's body. `contexts`, if any, are sent in their order instead of those of the request."""
    dialects = Struct(f"<{len(request.dialects)}H").pack(*request.dialects)
    listed = list(contexts) or request.contexts.listed()
    offset = align8(_REQUEST_FIXED + len(dialects)) if listed else 0
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        len(request.dialects),
        request.security_mode,
        0,
        request.capabilities,
        request.client_guid,
        offset,
        len(listed),
        0,
    )
    body = fixed + dialects
    return body.ljust(offset - HEADER_SIZE, b"\0") + encode_negotiate_contexts(listed) if listed else body


def encode_negotiate_response(  # noqa: PLR0913 - the fields of the response
    *,
    security_mode: int,
    dialect: int,
    server_guid: bytes,
    capabilities: int,
    max_transact_size: int,
    max_read_size: int,
    max_write_size: int,
    system_time: int,
    server_start_time: int = 0,
    security_buffer: bytes = b"",
    contexts: Sequence[NegotiateContext] = (),
) -> bytes:
    """Encode the response's body; `contexts` only for 3.1.1."""
    contexts_offset = align8(_RESPONSE_FIXED + len(security_buffer)) if contexts else 0
    fixed = _RESPONSE.pack(
        _RESPONSE_SIZE,
        security_mode,
        dialect,
        len(contexts),
        server_guid,
        capabilities,
        max_transact_size,
        max_read_size,
        max_write_size,
        system_time,
        server_start_time,
        _RESPONSE_FIXED,
        len(security_buffer),
        contexts_offset,
    )
    body = fixed + security_buffer
    return body.ljust(contexts_offset - HEADER_SIZE, b"\0") + encode_negotiate_contexts(contexts) if contexts else body


def decode_negotiate_response(message: memoryview) -> NegotiateResponse:
    """Decode the response."""
    what = "NEGOTIATE response"
    fields = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, what)
    mode, dialect, count, guid, *sizes_and_times, offset, length, contexts_offset = fields
    token = take(message, offset, length, _RESPONSE_FIXED, "security buffer of a " + what)
    contexts = NegotiateContexts()
    if dialect == DIALECT_311:
        contexts = _contexts(message, contexts_offset, count, _RESPONSE_FIXED, what)
    return NegotiateResponse._make((mode, dialect, guid, *sizes_and_times, token, contexts))
