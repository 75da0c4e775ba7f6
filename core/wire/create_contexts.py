"""Create contexts (MS-SMB2 2.2.13.2 SMB2_CREATE_CONTEXT Request Values, 2.2.14.2 Response Values).

The list, whatever is in it, and the contexts that are understood so far; the data of the others stays raw.
"""

from collections.abc import Mapping
from struct import Struct
from struct import error as struct_error
from types import MappingProxyType
from typing import Final, NamedTuple

from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import align8, pad8, unpack_at

EA_BUFFER: Final = b"ExtA"
SD_BUFFER: Final = b"SecD"
ALLOCATION_SIZE: Final = b"AlSi"
TIMEWARP_TOKEN: Final = b"TWrp"
QUERY_MAXIMAL_ACCESS: Final = b"MxAc"
QUERY_ON_DISK_ID: Final = b"QFid"
DURABLE_HANDLE_REQUEST: Final = b"DHnQ"
DURABLE_HANDLE_RECONNECT: Final = b"DHnC"
DURABLE_HANDLE_REQUEST_V2: Final = b"DH2Q"
DURABLE_HANDLE_RECONNECT_V2: Final = b"DH2C"
REQUEST_LEASE: Final = b"RqLs"
APP_INSTANCE_ID: Final = bytes.fromhex("45BCA66AEFA7F74A9008FA462E144D74")
APP_INSTANCE_VERSION: Final = bytes.fromhex("B982D0B73B56074FA07B524A8116A010")
SVHDX_OPEN_DEVICE_CONTEXT: Final = bytes.fromhex("9CCBCF9E04C1E643980E158DA1F6EC83")
POSIX: Final = bytes.fromhex("93AD25509CB411E7B42383DE968BCD7C")

NO_CONTEXTS: Final[Mapping[bytes, memoryview | bytes]] = MappingProxyType({})

_CONTEXT = Struct("<IHHHHI")  # Next, NameOffset, NameLength, Reserved, DataOffset, DataLength
_SHORTEST_TAG: Final = 4
_FILETIME = Struct("<Q")
_ALLOCATION = Struct("<q")
_MODE = Struct("<I")
_MAXIMAL_ACCESS_RESPONSE = Struct("<II")
_ON_DISK_ID = Struct("<QQ16x")
_LEASE = Struct("<16sIIQ")  # LeaseKey, LeaseState, Flags, LeaseDuration
_LEASE_V2 = Struct("<16sIIQ16sHH")  # … ParentLeaseKey, Epoch, Reserved
_LEASE_STATES: Final = 0x7

LEASE_FLAG_BREAK_IN_PROGRESS: Final = 0x2
LEASE_FLAG_PARENT_LEASE_KEY_SET: Final = 0x4
"""Flags of leases (2.2.13.2.10, 2.2.14.2.10)."""


class MaximalAccess(NamedTuple):
    """The MxAc response: `maximal_access` holds only if `query_status` is STATUS_SUCCESS."""

    query_status: int
    maximal_access: int


class OnDiskId(NamedTuple):
    """The QFid response: 64-bit file and volume ids."""

    disk_file_id: int
    volume_id: int


class LeaseContext(NamedTuple):
    """An RqLs context, of a request (2.2.13.2.8, 2.2.13.2.10) or of a response (2.2.14.2.10, 2.2.14.2.11).

    Version 1 has no parent key and no epoch. Flags LEASE_FLAG_*.
    """

    key: bytes
    state: int
    flags: int = 0
    version: int = 1
    parent_key: bytes = bytes(16)
    epoch: int = 0


# --- the list -----------------------------------------------------------------------------------------------------


def decode_create_contexts(data: memoryview) -> Mapping[bytes, memoryview | bytes]:
    """The contexts of a list, by tag (4 or 16 bytes); of two with the same tag the first counts."""
    contexts: dict[bytes, memoryview | bytes] = {}
    while data:
        following, tag, value = _decode_one(data)
        contexts.setdefault(tag, value)
        if not following:
            break
        data = data[following:]
    return contexts


def _decode_one(data: memoryview) -> tuple[int, bytes, memoryview]:
    try:
        following, name_offset, name_length, _, data_offset, data_length = _CONTEXT.unpack_from(data)
    except struct_error:
        raise WireError(f"create context of {len(data)} bytes") from None
    if following % 8 or 0 < following < _CONTEXT.size or (following and following >= len(data)):
        raise WireError(f"create context with Next {following} in a list of {len(data)} bytes")
    end = following or len(data)
    name_end = name_offset + name_length
    if name_offset < _CONTEXT.size or name_length < _SHORTEST_TAG or name_end > end:
        raise WireError(f"create context of {end} bytes with its name from {name_offset} to {name_end}")
    if data_length and (data_offset < name_end or data_offset % 8 or data_offset + data_length > end):
        raise WireError(f"create context of {end} bytes with {data_length} bytes of data at {data_offset}")
    tag = bytes(data[name_offset:name_end])
    return following, tag, data[data_offset : data_offset + data_length] if data_length else data[:0]


def encode_create_contexts(contexts: Mapping[bytes, memoryview | bytes]) -> bytes:
    """A list of contexts, in the order of the mapping; b"" for none."""
    encoded = bytearray()
    last = len(contexts) - 1
    for index, (tag, value) in enumerate(contexts.items()):
        start = align8(_CONTEXT.size + len(tag))
        size = start + len(value)
        following = 0 if index == last else align8(size)
        head = _CONTEXT.pack(following, _CONTEXT.size, len(tag), 0, start if value else 0, len(value)) + tag
        entry = head.ljust(start, b"\0") + value
        encoded += entry if index == last else pad8(entry)
    return bytes(encoded)


# --- requests -----------------------------------------------------------------------------------------------------


def decode_maximal_access_request(data: memoryview | bytes) -> int | None:
    """The Timestamp of an MxAc request (2.2.13.2.5) as a FILETIME, None if it has none."""
    return _exactly(_FILETIME, data, "MxAc") if data else None


def encode_maximal_access_request(timestamp: int | None = None) -> bytes:
    """The data of an MxAc request."""
    return b"" if timestamp is None else _FILETIME.pack(timestamp)


def decode_allocation_size(data: memoryview | bytes) -> int:
    """The AllocationSize of an AlSi request (2.2.13.2.6), in bytes; a negative one is refused."""
    size = _exactly(_ALLOCATION, data, "AlSi")
    if size < 0:
        raise WireError(f"AlSi context with a negative size ({size})")
    return size


def encode_allocation_size(size: int) -> bytes:
    """The data of an AlSi request."""
    return _ALLOCATION.pack(size)


def decode_timewarp_token(data: memoryview | bytes) -> int:
    """The Timestamp of a TWrp request (2.2.13.2.7) as a FILETIME."""
    return _exactly(_FILETIME, data, "TWrp")


def encode_timewarp_token(timestamp: int) -> bytes:
    """The data of a TWrp request."""
    return _FILETIME.pack(timestamp)


def decode_ea_buffer(data: memoryview | bytes) -> bytes:
    """The FILE_FULL_EA_INFORMATION list of an ExtA request (2.2.13.2.1); what is in it is the file system's matter."""
    return bytes(data)


def decode_sd_buffer(data: memoryview | bytes) -> bytes:
    """The self-relative security descriptor of a SecD request (2.2.13.2.2)."""
    if not data:
        raise WireError("SecD context without a security descriptor")
    return bytes(data)


def decode_posix_mode(data: memoryview | bytes) -> int:
    """The mode for a new file of a POSIX context (POSIX-SMB2 2.2.13.2.16)."""
    return _exactly(_MODE, data, "POSIX")


def encode_posix_mode(mode: int) -> bytes:
    """The data of a POSIX context of a request."""
    return _MODE.pack(mode)


def decode_lease(data: memoryview | bytes) -> LeaseContext:
    """An RqLs context; its length tells the version. Bits of LeaseState that mean nothing are left out."""
    if len(data) == _LEASE.size:
        key, state, flags, _ = _LEASE.unpack(data)
        return LeaseContext(key, state & _LEASE_STATES, flags)
    if len(data) == _LEASE_V2.size:
        key, state, flags, _, parent_key, epoch, _ = _LEASE_V2.unpack(data)
        return LeaseContext(key, state & _LEASE_STATES, flags, 2, parent_key, epoch)
    raise WireError(f"RqLs context with {len(data)} bytes of data instead of {_LEASE.size} or {_LEASE_V2.size}")


def encode_lease(lease: LeaseContext) -> bytes:
    """The data of an RqLs context, in the form of its version."""
    if lease.version == 1:
        return _LEASE.pack(lease.key, lease.state, lease.flags, 0)
    return _LEASE_V2.pack(lease.key, lease.state, lease.flags, 0, lease.parent_key, lease.epoch, 0)


def _exactly(layout: Struct, data: memoryview | bytes, name: str) -> int:
    if len(data) != layout.size:
        raise WireError(f"{name} context with {len(data)} bytes of data instead of {layout.size}")
    value: int = layout.unpack(data)[0]
    return value


# --- responses ----------------------------------------------------------------------------------------------------


def encode_maximal_access_response(query_status: int, maximal_access: int) -> bytes:
    """The data of an MxAc response (2.2.14.2.5)."""
    return _MAXIMAL_ACCESS_RESPONSE.pack(query_status, maximal_access)


def decode_maximal_access_response(data: memoryview | bytes) -> MaximalAccess:
    """Decode the data of an MxAc response."""
    return MaximalAccess(*unpack_at(_MAXIMAL_ACCESS_RESPONSE, memoryview(data), 0, "MxAc response"))


def encode_on_disk_id_response(disk_file_id: int, volume_id: int) -> bytes:
    """The data of a QFid response (2.2.14.2.9)."""
    return _ON_DISK_ID.pack(disk_file_id, volume_id)


def decode_on_disk_id_response(data: memoryview | bytes) -> OnDiskId:
    """Decode the data of a QFid response."""
    return OnDiskId(*unpack_at(_ON_DISK_ID, memoryview(data), 0, "QFid response"))
