"""The claims of a user in a PAC: what a Windows domain says of him besides his groups (MS-PAC 2.11, MS-ADTS 2.2.18).

Conditions in access lists ask for them (`ntfsa.security.ace_condition`). Domain controllers compress claims of more
than a few hundred bytes; see `xpress`.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Final

from lamina.core.auth.pickled import open_pickled
from lamina.core.auth.xpress import XpressError, decompress
from lamina.core.rpc.ndr import NdrError, NdrReader

MAX_CLAIMS: Final = 1024
MAX_SIZE: Final = 1 << 20
"""Bytes of the claims of one user that are looked at."""

_NOT_COMPRESSED: Final = 0
_XPRESS_HUFFMAN: Final = 4
_INT64: Final = Struct("<q")

Values = tuple[int | str | bytes, ...]


def read_claims(data: memoryview) -> Mapping[str, Values]:
    """The claims in a PAC_CLIENT_CLAIMS_INFO, by lower-case name; none if it is empty. Raises NdrError."""
    if not data:
        return {}
    reader = open_pickled(data)
    size, set_at, form, whole_size = reader.u32(), reader.u32(), reader.u16(), reader.u32()
    reader.u16()
    reader.octets(8, 4)
    if not set_at or not size:
        return {}
    if reader.u32() != size:
        raise NdrError("a set of claims of another length")
    packed = reader.octets(size)
    return _read_set(open_pickled(memoryview(_unpacked(packed, form, whole_size))))


def _unpacked(packed: memoryview, form: int, size: int) -> bytes:
    if size > MAX_SIZE:
        raise NdrError(f"{size} bytes of claims")
    if form == _NOT_COMPRESSED:
        return bytes(packed)
    if form != _XPRESS_HUFFMAN:
        raise NdrError(f"claims that are compressed in another way ({form}) than domain controllers do it")
    try:
        return decompress(packed, size)
    except XpressError as error:
        raise NdrError(str(error)) from None


def _read_set(reader: NdrReader) -> Mapping[str, Values]:
    """CLAIMS_SET (MS-ADTS 2.2.18.7): arrays of claims, each from another source."""
    count, arrays_at = reader.u32(), reader.u32()
    reader.u16()
    reader.octets(8, 4)
    if not arrays_at:
        return {}
    _check_count(reader, count)
    arrays = [(reader.u16(), reader.u32(), reader.u32()) for _ in range(count)]
    claims: dict[str, Values] = {}
    for _, claim_count, claims_at in arrays:
        if claims_at:
            claims |= _read_array(reader, claim_count)
    return claims


def _read_array(reader: NdrReader, count: int) -> dict[str, Values]:
    """An array of CLAIM_ENTRY (MS-ADTS 2.2.18.5), with all that it points to."""
    _check_count(reader, count)
    entries = []
    for _ in range(count):
        # The branch of the union is named by its type once more.
        id_at, kind, again, value_count, values_at = (
            reader.u32(),
            reader.u16(),
            reader.u16(),
            reader.u32(),
            reader.u32(),
        )
        if kind != again or kind not in _READERS:
            raise NdrError(f"a claim of the types {kind} and {again}")
        entries.append((id_at, kind, value_count, values_at))
    claims: dict[str, Values] = {}
    for id_at, kind, value_count, values_at in entries:
        name = reader.string() if id_at else ""
        values: Values = ()
        if values_at:
            _check_count(reader, value_count)
            values = _READERS[kind](reader, value_count)
        claims.setdefault(name.lower(), values)
    return claims


def _check_count(reader: NdrReader, count: int) -> None:
    if reader.u32() != count or count > MAX_CLAIMS or 4 * count > reader.left:
        raise NdrError(f"{count} claims or values")


def _signed(reader: NdrReader, count: int) -> Values:
    return tuple(_INT64.unpack(reader.octets(8, 8))[0] for _ in range(count))


def _unsigned(reader: NdrReader, count: int) -> Values:
    return tuple(reader.u64() for _ in range(count))


def _texts(reader: NdrReader, count: int) -> Values:
    present = [reader.u32() for _ in range(count)]
    return tuple(reader.string() for at in present if at)


_READERS: Final[Mapping[int, Callable[[NdrReader, int], Values]]] = {
    1: _signed,
    2: _unsigned,
    3: _texts,
    6: _unsigned,  # truth values
}
