"""What server-side copies carry (MS-SMB2 2.2.31.1 SRV_COPYCHUNK_COPY, 2.2.32.1 SRV_COPYCHUNK_RESPONSE, 2.2.32.3)."""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.fields import unpack_at

_COPY = Struct("<24sI4x")
_CHUNK = Struct("<qqI4x")
_RESPONSE = Struct("<III")
_RESUME_KEY = Struct("<24sI4x")

RESUME_KEY_SIZE: Final = _RESUME_KEY.size
"""Bytes of a SRV_REQUEST_RESUME_KEY response."""

COPY_RESPONSE_SIZE: Final = _RESPONSE.size
"""Bytes of a SRV_COPYCHUNK_RESPONSE."""

MAX_CHUNKS: Final = 256
"""ServerSideCopyMaxNumberofChunks (3.3.1.5), as Windows has it."""


class CopyChunk(NamedTuple):
    """A range to copy (2.2.31.1.1 SRV_COPYCHUNK): signed offsets, and the length in bytes."""

    source_offset: int
    target_offset: int
    length: int


class CopyRequest(NamedTuple):
    """How many chunks are `announced`; `chunks` are those that the request has room for."""

    source_key: bytes
    announced: int
    chunks: Sequence[CopyChunk]


class CopyResponse(NamedTuple):
    """Chunks and bytes that were written; with INVALID_PARAMETER the most that a request may ask for."""

    chunks_written: int
    chunk_bytes_written: int
    total_bytes_written: int


def decode_copy_request(data: memoryview | bytes) -> CopyRequest:
    """Decode the input of the control code, but no chunk behind the MAX_CHUNKSth."""
    view = memoryview(data)
    key, count = unpack_at(_COPY, view, 0, "SRV_COPYCHUNK_COPY")
    present = min(count, MAX_CHUNKS, (len(view) - _COPY.size) // _CHUNK.size)
    chunks = [CopyChunk(*_CHUNK.unpack_from(view, _COPY.size + _CHUNK.size * index)) for index in range(present)]
    return CopyRequest(key, count, chunks)


def encode_copy_request(key: bytes, chunks: Sequence[CopyChunk]) -> bytes:
    """Encode the input of the control code."""
    return _COPY.pack(key, len(chunks)) + b"".join(_CHUNK.pack(*chunk) for chunk in chunks)


def encode_copy_response(response: CopyResponse) -> bytes:
    """Encode the output of the control code."""
    return _RESPONSE.pack(*response)


def decode_copy_response(data: memoryview | bytes) -> CopyResponse:
    """Decode the output of the control code."""
    return CopyResponse(*unpack_at(_RESPONSE, memoryview(data), 0, "SRV_COPYCHUNK_RESPONSE"))


def encode_resume_key(key: bytes) -> bytes:
    """Encode the output of FSCTL_SRV_REQUEST_RESUME_KEY, which ends with a context of no length."""
    return _RESUME_KEY.pack(key, 0)


def decode_resume_key(data: memoryview | bytes) -> bytes:
    """The key in the output of FSCTL_SRV_REQUEST_RESUME_KEY."""
    key: bytes = unpack_at(_RESUME_KEY, memoryview(data), 0, "SRV_REQUEST_RESUME_KEY")[0]
    return key
