"""Claims: named values of a user, or of a file as its resource attributes (MS-DTYP 2.4.10.1, 2.4.4.15).

A resource attribute is an entry of the SACL, SYSTEM_RESOURCE_ATTRIBUTE_ACE, whose data is a
CLAIM_SECURITY_ATTRIBUTE_RELATIVE_V1. Names ignore case. What is malformed counts as absent: conditions about it are
"unknown".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from struct import Struct, error
from typing import Final, NamedTuple

from lamina.ntfsa.security.security_descriptor import SYSTEM_RESOURCE_ATTRIBUTE_ACE_TYPE, Acl
from lamina.ntfsa.security.sid import parse_sid
from lamina.ntfsa.status import NtStatusError

MAX_VALUES: Final = 1024
"""Values of one attribute that are looked at; what has more is malformed."""

_HEADER: Final = Struct("<IHHII")
_OFFSET: Final = Struct("<I")
_LENGTH: Final = Struct("<I")
_INT64: Final = Struct("<q")
_UINT64: Final = Struct("<Q")
_CASE_SENSITIVE: Final = 0x0002
_DISABLED: Final = 0x0010


@dataclass(frozen=True, slots=True)
class SidValue:
    """A SID as a value, in string form: other than the text that it looks like."""

    sid: str


Scalar = int | str | bytes | SidValue


class Claim(NamedTuple):
    """The values of one attribute; more than one make it multivalued. Texts ignore case unless `case_sensitive`."""

    values: tuple[Scalar, ...]
    case_sensitive: bool = False


Claims = Mapping[str, Claim]
"""By name, in lower case."""


def resource_attributes(sacl: Acl | None) -> dict[str, Claim]:
    """The resource attributes of a file; the first of a name counts."""
    found: dict[str, Claim] = {}
    for ace in sacl.aces if sacl is not None else ():
        if ace.type == SYSTEM_RESOURCE_ATTRIBUTE_ACE_TYPE:
            parsed = _parse(ace.data)
            if parsed is not None:
                found.setdefault(*parsed)
    return found


def _parse(data: bytes) -> tuple[str, Claim] | None:
    try:
        name, kind, _, flags, count = _HEADER.unpack_from(data)
        if count > MAX_VALUES or flags & _DISABLED or kind not in _READERS:
            return None
        read = _READERS[kind]
        offsets = (_OFFSET.unpack_from(data, _HEADER.size + 4 * index)[0] for index in range(count))
        return _text(data, name).lower(), Claim(_values(data, offsets, read), bool(flags & _CASE_SENSITIVE))
    except (error, ValueError, NtStatusError):
        return None


def _values(data: bytes, offsets: Iterable[int], read: Callable[[bytes, int], Scalar]) -> tuple[Scalar, ...]:
    # Values do not overlap: together they are no longer than the data, however many there are said to be.
    values, length = [], 0
    for offset in offsets:
        value = read(data, offset)
        length += len(value) if isinstance(value, str | bytes) else 8
        if length > len(data):
            raise ValueError("values that overlap")
        values.append(value)
    return tuple(values)


def _text(data: bytes, offset: int) -> str:
    end = offset
    while data[end : end + 2] not in {b"\0\0", b""}:
        end += 2
    if end + 2 > len(data):
        raise ValueError("a text without an end")
    return data[offset:end].decode("utf-16-le")


def _octets(data: bytes, offset: int) -> bytes:
    (length,) = _LENGTH.unpack_from(data, offset)
    start = offset + _LENGTH.size
    if length > len(data) - start:
        raise ValueError("octets that end too early")
    return data[start : start + length]


def _sid(data: bytes, offset: int) -> SidValue:
    return SidValue(parse_sid(_octets(data, offset)))


def _int64(data: bytes, offset: int) -> int:
    value: int = _INT64.unpack_from(data, offset)[0]
    return value


def _uint64(data: bytes, offset: int) -> int:
    value: int = _UINT64.unpack_from(data, offset)[0]
    return value


_READERS: Final[dict[int, Callable[[bytes, int], Scalar]]] = {
    0x0001: _int64,
    0x0002: _uint64,
    0x0003: _text,
    0x0005: _sid,
    0x0006: _uint64,
    0x0010: _octets,
}
