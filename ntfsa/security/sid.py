"""Security identifiers, between their string form and their packet form (MS-DTYP 2.4.2).

Everywhere in Lamina a SID is its string; bytes exist only in descriptors and on the wire.
"""

from functools import lru_cache
from struct import Struct
from typing import Final

from lamina.ntfsa.status import NtStatus, NtStatusError

EVERYONE: Final = "S-1-1-0"
CREATOR_OWNER: Final = "S-1-3-0"
CREATOR_GROUP: Final = "S-1-3-1"
OWNER_RIGHTS: Final = "S-1-3-4"
NETWORK: Final = "S-1-5-2"
ANONYMOUS: Final = "S-1-5-7"
AUTHENTICATED_USERS: Final = "S-1-5-11"
LOCAL_SYSTEM: Final = "S-1-5-18"
BUILTIN_ADMINISTRATORS: Final = "S-1-5-32-544"
BUILTIN_USERS: Final = "S-1-5-32-545"
BUILTIN_GUESTS: Final = "S-1-5-32-546"
BUILTIN_BACKUP_OPERATORS: Final = "S-1-5-32-551"

WELL_KNOWN: Final = {
    "everyone": EVERYONE,
    "creator owner": CREATOR_OWNER,
    "creator group": CREATOR_GROUP,
    "owner rights": OWNER_RIGHTS,
    "network": NETWORK,
    "anonymous": ANONYMOUS,
    "authenticated users": AUTHENTICATED_USERS,
    "system": LOCAL_SYSTEM,
    "administrators": BUILTIN_ADMINISTRATORS,
    "users": BUILTIN_USERS,
    "guests": BUILTIN_GUESTS,
    "guest": BUILTIN_GUESTS,
    "backup operators": BUILTIN_BACKUP_OPERATORS,
}
"""Well-known SIDs by the names that people write, in lower case (MS-DTYP 2.4.2.4 Well-Known SID Structures)."""

MAX_SUB_AUTHORITIES: Final = 15
MAX_SID_SIZE: Final = 8 + 4 * MAX_SUB_AUTHORITIES

_SUB_AUTHORITIES: Final = [Struct(f"<{count}I") for count in range(MAX_SUB_AUTHORITIES + 1)]
_HEX_AUTHORITY: Final = 1 << 32


def _bad(sid: object) -> NtStatusError:
    return NtStatusError(NtStatus.INVALID_SID, f"not a SID: {sid!r}")


def sid_size(data: bytes | memoryview, offset: int = 0) -> int:
    """Bytes of the SID at `offset`; INVALID_SID unless all of it lies within `data` and is of revision 1."""
    if offset < 0 or offset + 8 > len(data) or data[offset] != 1 or data[offset + 1] > MAX_SUB_AUTHORITIES:
        raise _bad("these bytes")
    size = 8 + 4 * data[offset + 1]
    if offset + size > len(data):
        raise _bad("these bytes")
    return size


def parse_sid(data: bytes | memoryview, offset: int = 0) -> str:
    """The string of the SID at `offset` of `data`; INVALID_SID (see `sid_size`)."""
    size = sid_size(data, offset)
    return _parse(bytes(data[offset : offset + size]))


@lru_cache(maxsize=4096)
def _parse(data: bytes) -> str:
    authority = int.from_bytes(data[2:8], "big")
    shown = f"0x{authority:012X}" if authority >= _HEX_AUTHORITY else str(authority)
    return "-".join(("S-1", shown, *map(str, _SUB_AUTHORITIES[data[1]].unpack_from(data, 8))))


@lru_cache(maxsize=4096)
def pack_sid(sid: str) -> bytes:
    """The packet form of a SID's string (MS-DTYP 2.4.2.1); INVALID_SID if it is none."""
    parts = sid.split("-")
    if len(parts) < 3 or parts[0].upper() != "S" or parts[1] != "1" or len(parts) > 3 + MAX_SUB_AUTHORITIES:
        raise _bad(sid)
    authority = _number(parts[2], 48)
    numbers = [_number(part, 32) for part in parts[3:]]
    return bytes((1, len(numbers))) + authority.to_bytes(6, "big") + _SUB_AUTHORITIES[len(numbers)].pack(*numbers)


def _number(text: str, bits: int) -> int:
    # An authority beyond 32 bits is written in hexadecimal.
    digits, base = (text[2:], 16) if bits > 32 and text[:2] in {"0x", "0X"} else (text, 10)
    if not digits.isascii() or not digits.isalnum() or len(digits) > 15:
        raise _bad(text)
    try:
        number = int(digits, base)
    except ValueError:
        raise _bad(text) from None
    if number >> bits:
        raise _bad(text)
    return number
