"""CREATE (MS-SMB2 2.2.13 SMB2 CREATE Request, 2.2.14 SMB2 CREATE Response). The contexts: `create_contexts`."""

from collections.abc import Mapping
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE, IMPERSONATION_IMPERSONATION
from lamina.core.wire.create_contexts import NO_CONTEXTS, decode_create_contexts, encode_create_contexts
from lamina.core.wire.fields import (
    FileInformation,
    decode_name,
    encode_name,
    pad8,
    take,
    too_short,
    unpack_body,
    wrong_size,
)

_REQUEST = Struct("<HBBIQQIIIIIHHII")
_REQUEST_SIZE: Final = 57
_REQUEST_FIXED: Final = HEADER_SIZE + _REQUEST.size
_RESPONSE = Struct("<HBBIQQQQQQIIQQII")
_RESPONSE_SIZE: Final = 89
_RESPONSE_FIXED: Final = HEADER_SIZE + _RESPONSE.size
# One for each open: this costs half of calling the class.
_new = tuple.__new__


class CreateRequest(NamedTuple):
    """`name` relative to the share, "" for its root; `contexts` by tag, their data views into the message."""

    name: str
    desired_access: int = 0
    file_attributes: int = 0
    share_access: int = 0
    create_disposition: int = 0
    create_options: int = 0
    oplock_level: int = 0
    impersonation_level: int = IMPERSONATION_IMPERSONATION
    contexts: Mapping[bytes, memoryview | bytes] = NO_CONTEXTS


class CreateResponse(NamedTuple):
    """A FileInformation and the file id; `create_action` 0 to 3: superseded, opened, created, overwritten."""

    oplock_level: int
    flags: int
    create_action: int
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    allocation_size: int
    end_of_file: int
    file_attributes: int
    persistent: int
    volatile: int
    contexts: Mapping[bytes, memoryview | bytes]


def decode_create_request(message: memoryview) -> CreateRequest:
    """Decode the request with its list of contexts; what is in each of them is left to `create_contexts`."""
    try:
        (
            size, _, oplock, impersonation, _, _, access, attributes, sharing, disposition, options,
            name_offset, name_length, contexts_offset, contexts_length,
        ) = _REQUEST.unpack_from(message, HEADER_SIZE)  # fmt: skip
    except struct_error:
        raise too_short(message, _REQUEST, "CREATE request") from None
    if size != _REQUEST_SIZE:
        raise wrong_size(size, _REQUEST_SIZE, "CREATE request")
    name = decode_name(
        take(message, name_offset, name_length, _REQUEST_FIXED, "name of a CREATE request"), "name of a CREATE request"
    )
    contexts = NO_CONTEXTS
    if contexts_length:
        contexts = decode_create_contexts(
            take(message, contexts_offset, contexts_length, _REQUEST_FIXED, "contexts of a CREATE request")
        )
    return _new(
        CreateRequest, (name, access, attributes, sharing, disposition, options, oplock, impersonation, contexts)
    )


def encode_create_request(request: CreateRequest) -> bytes:
    """Encode the request's body, the contexts 8-byte aligned behind the name."""
    name = encode_name(request.name)
    contexts = encode_create_contexts(request.contexts)
    buffer = (pad8(name) + contexts if contexts else name) or b"\0"
    fixed = _REQUEST.pack(
        _REQUEST_SIZE,
        0,
        request.oplock_level,
        request.impersonation_level,
        0,
        0,
        request.desired_access,
        request.file_attributes,
        request.share_access,
        request.create_disposition,
        request.create_options,
        _REQUEST_FIXED,
        len(name),
        _REQUEST_FIXED + len(pad8(name)) if contexts else 0,
        len(contexts),
    )
    return fixed + buffer


def encode_create_response(
    *,
    oplock_level: int,
    create_action: int,
    information: FileInformation,
    persistent: int,
    volatile: int,
    contexts: bytes = b"",
    flags: int = 0,
) -> bytes:
    """Encode the response's body; `contexts` come from encode_create_contexts."""
    fixed = _RESPONSE.pack(
        _RESPONSE_SIZE,
        oplock_level,
        flags,
        create_action,
        information.creation_time,
        information.last_access_time,
        information.last_write_time,
        information.change_time,
        information.allocation_size,
        information.end_of_file,
        information.file_attributes,
        0,
        persistent,
        volatile,
        _RESPONSE_FIXED if contexts else 0,
        len(contexts),
    )
    return fixed + contexts


def decode_create_response(message: memoryview) -> CreateResponse:
    """Decode the response."""
    what = "CREATE response"
    fields = unpack_body(_RESPONSE, message, _RESPONSE_SIZE, what)
    *before, _, persistent, volatile, offset, length = fields
    contexts = decode_create_contexts(take(message, offset, length, _RESPONSE_FIXED, "contexts of a " + what))
    return CreateResponse._make((*before, persistent, volatile, contexts))
