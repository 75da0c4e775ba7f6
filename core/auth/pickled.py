"""Structures that were serialized alone, as RPC would have sent them: "type serialization version 1" (MS-RPCE 2.2.6).

The headers before such a structure, and what the structures of a PAC have in common.
"""

from struct import Struct
from typing import Final

from lamina.core.rpc.ndr import NdrError, NdrReader
from lamina.ntfsa.security.sid import parse_sid

_COMMON_HEADER: Final = Struct("<BBHI")
_PRIVATE_HEADER: Final = Struct("<II")
_LITTLE_ENDIAN: Final = 0x10


def open_pickled(data: memoryview) -> NdrReader:
    """A reader of the structure that `data` holds, behind its headers and its pointer. Raises NdrError."""
    headers = _COMMON_HEADER.size + _PRIVATE_HEADER.size
    if len(data) < headers:
        raise NdrError("a serialized structure without headers")
    version, endianness, length, _ = _COMMON_HEADER.unpack_from(data)
    if (version, endianness, length) != (1, _LITTLE_ENDIAN, _COMMON_HEADER.size):
        raise NdrError(f"serialization version {version}, representation {endianness:#x}")
    size, _ = _PRIVATE_HEADER.unpack_from(data, _COMMON_HEADER.size)
    if size > len(data) - headers:
        raise NdrError(f"a structure of {size} bytes in {len(data)}")
    reader = NdrReader(data[headers : headers + size])
    if not reader.u32():
        raise NdrError("a null pointer where a structure is wanted")
    return reader


def read_sid(reader: NdrReader) -> str:
    """A SID that is pointed to (MS-DTYP 2.4.2.3 RPC_SID). Raises NdrError or NtStatusError."""
    count = reader.u32()
    if count > 15:
        raise NdrError(f"a SID with {count} numbers")
    return parse_sid(reader.octets(8 + 4 * count, 4))
