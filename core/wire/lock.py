"""LOCK (MS-SMB2 2.2.26 SMB2 LOCK Request, 2.2.27 SMB2 LOCK Response)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.constants import HEADER_SIZE
from lamina.core.wire.empty import decode_empty, encode_empty
from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import take, unpack_body

_REQUEST = Struct("<HHIQQ")
_REQUEST_SIZE: Final = 48
_REQUEST_FIXED: Final = HEADER_SIZE + _REQUEST.size
_ELEMENT = Struct("<QQI4x")
_SEQUENCE_NUMBER_BITS: Final = 4


class WireLock(NamedTuple):
    """An SMB2_LOCK_ELEMENT (2.2.26.1): a range in bytes, `flags` LOCKFLAG_*."""

    offset: int
    length: int
    flags: int


class LockRequest(NamedTuple):
    """`lock_sequence` is the whole field: number (4 bits) and index (28 bits)."""

    persistent: int
    volatile: int
    locks: tuple[WireLock, ...]
    lock_sequence: int = 0

    @property
    def sequence_number(self) -> int:
        """LockSequenceNumber."""
        return self.lock_sequence & ((1 << _SEQUENCE_NUMBER_BITS) - 1)

    @property
    def sequence_index(self) -> int:
        """LockSequenceIndex."""
        return self.lock_sequence >> _SEQUENCE_NUMBER_BITS


def decode_lock_request(message: memoryview) -> LockRequest:
    """Decode the request, which has at least one element (3.3.5.14)."""
    what = "LOCK request"
    count, sequence, persistent, volatile = unpack_body(_REQUEST, message, _REQUEST_SIZE, what)
    if not count:
        raise WireError("LOCK request without an element")
    elements = take(message, _REQUEST_FIXED, count * _ELEMENT.size, _REQUEST_FIXED, "elements of a " + what)
    locks = tuple(WireLock(*fields) for fields in _ELEMENT.iter_unpack(elements))
    return LockRequest(persistent, volatile, locks, sequence)


def encode_lock_request(request: LockRequest) -> bytes:
    """Encode the request's body."""
    fixed = _REQUEST.pack(
        _REQUEST_SIZE, len(request.locks), request.lock_sequence, request.persistent, request.volatile
    )
    return fixed + b"".join(_ELEMENT.pack(*lock) for lock in request.locks)


def encode_lock_response() -> bytes:
    """Encode the response's body."""
    return encode_empty()


def decode_lock_response(message: memoryview) -> None:
    """Check the response; it says nothing."""
    decode_empty(message, "LOCK response")
