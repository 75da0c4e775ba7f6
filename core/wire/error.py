"""The ERROR response (MS-SMB2 2.2.2 SMB2 ERROR Response) and what it carries (2.2.2.1, 2.2.2.2)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import ERROR_ID_DEFAULT, HEADER_SIZE
from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import align8, decode_name, encode_name, pad8, take, unpack_at, unpack_body

_RESPONSE = Struct("<HBBI")
_RESPONSE_SIZE: Final = 9
_CONTEXT = Struct("<II")
_SYMLINK = Struct("<IIIHHHHHHI")
_SYMLINK_ERROR_TAG: Final = 0x4C4D5953
_REPARSE_TAG_SYMLINK: Final = 0xA000000C
_SYMLINK_FLAG_RELATIVE: Final = 1
# SymLinkLength counts from behind itself; ReparseDataLength from behind UnparsedPathLength.
_LENGTH_FIXED: Final = _SYMLINK.size - 4
_REPARSE_FIXED: Final = 12


class ErrorContext(NamedTuple):
    """An SMB2 ERROR Context (2.2.2.1), dialect 3.1.1."""

    error_id: int
    data: memoryview | bytes


class ErrorResponse(NamedTuple):
    """`data` is ErrorData as it stands; where contexts are counted it holds them (decode_error_contexts)."""

    context_count: int
    data: memoryview | bytes


class SymbolicLinkError(NamedTuple):
    """Where a path meets a symbolic link (2.2.2.2.1). `unparsed_path_length` in bytes of UTF-16 behind the link."""

    unparsed_path_length: int
    substitute_name: str
    print_name: str
    relative: bool


def encode_error_response(data: bytes = b"", context_count: int = 0) -> bytes:
    """The body of an error; without data it ends with one byte of zero, as Windows sends it."""
    return _RESPONSE.pack(_RESPONSE_SIZE, context_count, 0, len(data)) + (data or b"\0")


def encode_error_contexts(contexts: list[ErrorContext]) -> bytes:
    """ErrorData for dialect 3.1.1; give encode_error_response also the number of contexts."""
    encoded = [_CONTEXT.pack(len(context.data), context.error_id) + context.data for context in contexts]
    return b"".join([*map(pad8, encoded[:-1]), *encoded[-1:]])


def encode_error_for(dialect_311: bool, data: bytes, error_id: int = ERROR_ID_DEFAULT) -> bytes:
    """The body of an error with `data`, which 3.1.1 wants inside an error context."""
    if not data or not dialect_311:
        return encode_error_response(data)
    return encode_error_response(encode_error_contexts([ErrorContext(error_id, data)]), 1)


def decode_error_response(message: memoryview) -> ErrorResponse:
    """Decode the response."""
    count, _, length = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, "ERROR response")
    first = HEADER_SIZE + _RESPONSE.size
    return ErrorResponse(count, take(message, first, length, first, "data of an ERROR response"))


def decode_error_contexts(data: memoryview, count: int) -> list[ErrorContext]:
    """The contexts in ErrorData of an error of dialect 3.1.1."""
    contexts: list[ErrorContext] = []
    offset = 0
    for _ in range(count):
        length, error_id = unpack_at(_CONTEXT, data, offset, "error context")
        start = offset + _CONTEXT.size
        contexts.append(ErrorContext(error_id, take(data, start, length, start, "data of an error context")))
        offset = align8(start + length)
    return contexts


def encode_symbolic_link_error(error: SymbolicLinkError) -> bytes:
    """The Symbolic Link Error Response (2.2.2.2.1), the data of STOPPED_ON_SYMLINK."""
    substitute, printed = encode_name(error.substitute_name), encode_name(error.print_name)
    names = len(substitute) + len(printed)
    fixed = _SYMLINK.pack(
        _LENGTH_FIXED + names,
        _SYMLINK_ERROR_TAG,
        _REPARSE_TAG_SYMLINK,
        _REPARSE_FIXED + names,
        error.unparsed_path_length,
        0,
        len(substitute),
        len(substitute),
        len(printed),
        _SYMLINK_FLAG_RELATIVE if error.relative else 0,
    )
    return fixed + substitute + printed


def decode_symbolic_link_error(data: memoryview) -> SymbolicLinkError:
    """Decode a Symbolic Link Error Response."""
    (
        length, tag, reparse_tag, reparse_length, unparsed,
        substitute_at, substitute_length, print_at, print_length, flags,
    ) = unpack_at(_SYMLINK, data, 0, "symbolic link error")  # fmt: skip
    if (tag, reparse_tag) != (_SYMLINK_ERROR_TAG, _REPARSE_TAG_SYMLINK):
        raise WireError(f"symbolic link error with the tags {tag:#x} and {reparse_tag:#x}")
    if length != len(data) - 4 or reparse_length != length - _LENGTH_FIXED + _REPARSE_FIXED:
        raise WireError(f"symbolic link error of {len(data)} bytes with the lengths {length} and {reparse_length}")
    start = _SYMLINK.size
    substitute = take(data, start + substitute_at, substitute_length, start, "substitute name")
    printed = take(data, start + print_at, print_length, start, "print name")
    return SymbolicLinkError(
        unparsed,
        decode_name(substitute, "substitute name"),
        decode_name(printed, "print name"),
        bool(flags & _SYMLINK_FLAG_RELATIVE),
    )
