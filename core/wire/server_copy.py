"""What server-side copies carry (MS-SMB2 2.2.31.1 SRV_COPYCHUNK_COPY, 2.2.32.1 SRV_COPYCHUNK_RESPONSE, 2.2.32.3).

And the two requests to share blocks that name their source by a FileId (MS-FSCC 2.3.7.2, 2.3.9.2).
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import unpack_at

_COPY = Struct("<24sI4x")
_CHUNK = Struct("<qqI4x")
_RESPONSE = Struct("<III")
_RESUME_KEY = Struct("<24sI4x")
_DUPLICATE = Struct("<QQqqq")
_DUPLICATE_EX = Struct("<QQQqqqI4x")
_DUPLICATE_EX_SIZE: Final = 0x30

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


class DuplicateExtents(NamedTuple):
    """SMB2_DUPLICATE_EXTENTS_DATA: the source's FileId, the offsets in both files, and the length in bytes."""

    persistent: int
    volatile: int
    source_offset: int
    target_offset: int
    length: int


def decode_duplicate_extents(data: memoryview | bytes) -> DuplicateExtents:
    """Decode the input of FSCTL_DUPLICATE_EXTENTS_TO_FILE."""
    return DuplicateExtents(*unpack_at(_DUPLICATE, memoryview(data), 0, "SMB2_DUPLICATE_EXTENTS_DATA"))


def encode_duplicate_extents(asked: DuplicateExtents) -> bytes:
    """Encode the input of FSCTL_DUPLICATE_EXTENTS_TO_FILE."""
    return _DUPLICATE.pack(*asked)


def decode_duplicate_extents_ex(data: memoryview | bytes) -> DuplicateExtents:
    """Decode the input of FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX; Flags ask for no more than what is always done."""
    what = "SMB2_DUPLICATE_EXTENTS_DATA_EX"
    size, *fields, _ = unpack_at(_DUPLICATE_EX, memoryview(data), 0, what)
    if size != _DUPLICATE_EX_SIZE:
        raise WireError(f"{what} whose StructureSize is {size}")
    return DuplicateExtents(*fields)


def encode_duplicate_extents_ex(asked: DuplicateExtents, flags: int = 0) -> bytes:
    """Encode the input of FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX."""
    return _DUPLICATE_EX.pack(_DUPLICATE_EX_SIZE, *asked, flags)
