"""Copies that the server makes by itself (MS-SMB2 3.3.5.15.5 source file keys, 3.3.5.15.6 the copy).

And the sharing of blocks, whose source is named by its FileId (MS-FSCC 2.3.7 FSCTL_DUPLICATE_EXTENTS_TO_FILE).
"""

from typing import Final

from lamina.core.open_lookup import open_of
from lamina.core.request import Request
from lamina.core.session import SmbOpen
from lamina.core.wire.ioctl import IoctlRequest
from lamina.core.wire.server_copy import (
    COPY_RESPONSE_SIZE,
    MAX_CHUNKS,
    RESUME_KEY_SIZE,
    CopyRequest,
    CopyResponse,
    decode_copy_request,
    decode_duplicate_extents,
    decode_duplicate_extents_ex,
    encode_copy_response,
    encode_resume_key,
)
from lamina.ntfsa.content import clone
from lamina.ntfsa.content.range_copy import CopyRange, copy_ranges, require_copyable
from lamina.ntfsa.content.whole_copy import copy_whole
from lamina.ntfsa.information import Information
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.extensions import ClientTrait

FSCTL_SRV_REQUEST_RESUME_KEY: Final = 0x00140078
FSCTL_SRV_COPYCHUNK: Final = 0x001440F2
FSCTL_SRV_COPYCHUNK_WRITE: Final = 0x001480F2
FSCTL_DUPLICATE_EXTENTS_TO_FILE: Final = 0x00098344
FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX: Final = 0x000983E8

LIMITS: Final = CopyResponse(MAX_CHUNKS, 1 << 20, 16 << 20)
"""ServerSideCopyMaxNumberofChunks, -MaxChunkSize and -MaxDataSize of 3.3.1.5, as Windows has them."""

_KEY_TAIL: Final = b"server-side copy"


def _file_of(request: Request, asked: IoctlRequest) -> SmbOpen:
    open_ = open_of(request, asked.persistent, asked.volatile)
    if open_.nt is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "not a file")
    return open_


def request_resume_key(request: Request, asked: IoctlRequest) -> Information:
    """A key by which a copy names this open as its source; it is worth nothing in another session."""
    open_ = _file_of(request, asked)
    if asked.max_output_response < RESUME_KEY_SIZE:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    return Information(NtStatus.SUCCESS, encode_resume_key(_key_of(open_)))


def _key_of(open_: SmbOpen) -> bytes:
    return open_.file_id.to_bytes(8, "little") + _KEY_TAIL


def copy_chunks(request: Request, asked: IoctlRequest) -> Information:
    """Copy ranges from the open that a key names to the open of the request."""
    target = _file_of(request, asked)
    if asked.max_output_response < COPY_RESPONSE_SIZE:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    copy = decode_copy_request(asked.input)
    source = _source_of(request, copy.source_key)
    if not _within_limits(copy):
        return Information(NtStatus.INVALID_PARAMETER, encode_copy_response(LIMITS))
    source.busy += 1
    try:
        return _copy(request, asked, source, target, copy)
    finally:
        source.release()


def _source_of(request: Request, key: bytes) -> SmbOpen:
    assert request.session is not None
    open_ = request.session.opens.get(int.from_bytes(key[:8], "little")) if key[8:] == _KEY_TAIL else None
    if open_ is None or open_.closing or open_.nt is None:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "no open of this session has that key")
    return open_


def _within_limits(copy: CopyRequest) -> bool:
    """3.3.5.15.6: what is answered with the limits. A negative offset is no part of a file either."""
    return (
        len(copy.chunks) == copy.announced
        and all(0 < chunk.length <= LIMITS.chunk_bytes_written for chunk in copy.chunks)
        and all(chunk.source_offset >= 0 and chunk.target_offset >= 0 for chunk in copy.chunks)
        and sum(chunk.length for chunk in copy.chunks) <= LIMITS.total_bytes_written
    )


def _copy(request: Request, asked: IoctlRequest, source: SmbOpen, target: SmbOpen, copy: CopyRequest) -> Information:
    assert request.tree is not None
    assert source.nt is not None
    assert target.nt is not None
    require_copyable(source.nt, target.nt, asked.control_code == FSCTL_SRV_COPYCHUNK)
    if not copy.chunks and ClientTrait.WHOLE_COPIES in request.tree.context.client.traits:
        whole = copy_whole(request.tree.context, source.nt, target.nt)
        return Information(whole.status, encode_copy_response(CopyResponse(0, 0, min(whole.total, 0xFFFFFFFF))))
    ranges = [CopyRange(*chunk) for chunk in copy.chunks]
    status, complete, partial, total = copy_ranges(request.tree.context, source.nt, target.nt, ranges)
    # Not only SUCCESS is answered with how far it came, but whatever stopped it.
    return Information(status, encode_copy_response(CopyResponse(complete, partial, total)))


def duplicate_extents(request: Request, asked: IoctlRequest) -> Information:
    """Let the open of the request share blocks of another."""
    target = _file_of(request, asked)
    assert request.session is not None
    assert request.tree is not None
    assert target.nt is not None
    extended = asked.control_code == FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX
    said = decode_duplicate_extents_ex(asked.input) if extended else decode_duplicate_extents(asked.input)
    source = request.session.opens.get(said.volatile)
    if source is None or source.closing or source.nt is None or said.persistent != source.file_id:
        raise NtStatusError(NtStatus.INVALID_HANDLE, "the source is no open file of this session")
    part = CopyRange(said.source_offset, said.target_offset, said.length)
    source.busy += 1
    try:
        clone.duplicate_extents(request.tree.context, source.nt, target.nt, part)
    finally:
        source.release()
    return Information(NtStatus.SUCCESS, b"")
