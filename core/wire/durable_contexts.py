"""Create contexts of handles that survive (MS-SMB2 2.2.13.2.3, .4, .11 to .13, .15; 2.2.14.2.3, .12), and the request
for resiliency (2.2.31.3)."""

from struct import Struct
from typing import Final, NamedTuple

from lamina.core.wire.errors import WireError

DHANDLE_FLAG_PERSISTENT: Final = 0x00000002
"""Flag of DH2Q and DH2C, requests and responses: the handle is, or is to be, persistent."""

_REQUEST_V1: Final = 16
_RESPONSE_V1: Final = bytes(8)
_FILE_ID = Struct("<QQ")
_REQUEST_V2 = Struct("<II8x16s")  # Timeout, Flags, Reserved, CreateGuid
_RECONNECT_V2 = Struct("<QQ16sI")  # FileId, CreateGuid, Flags
_RESPONSE_V2 = Struct("<II")  # Timeout, Flags
_APP_INSTANCE_ID = Struct("<HH16s")  # StructureSize, Reserved, AppInstanceId
_APP_INSTANCE_VERSION = Struct("<HHIQQ")  # StructureSize, Reserved, Padding, high, low
_RESILIENCY = Struct("<II")  # Timeout, Reserved


class DurableRequestV2(NamedTuple):
    """A DH2Q request. `timeout` in milliseconds, 0 for what the server thinks best; `flags` DHANDLE_FLAG_*."""

    create_guid: bytes
    timeout: int = 0
    flags: int = 0


class DurableReconnect(NamedTuple):
    """A DHnC or DH2C request: the file id of the open that is asked back; version 1 has no guid and no flags."""

    persistent: int
    volatile: int
    create_guid: bytes = bytes(16)
    flags: int = 0


class DurableResponseV2(NamedTuple):
    """A DH2Q response. `timeout` in milliseconds: how long the open is kept for its client."""

    timeout: int
    flags: int = 0


class AppInstanceVersion(NamedTuple):
    """Which of two instances of an application is the newer."""

    high: int
    low: int


def check_durable_request(data: memoryview | bytes) -> None:
    """Refuse a DHnQ request of a wrong size; what is in it means nothing."""
    if len(data) != _REQUEST_V1:
        raise WireError(f"DHnQ context with {len(data)} bytes of data instead of {_REQUEST_V1}")


def encode_durable_request() -> bytes:
    """The data of a DHnQ request."""
    return bytes(_REQUEST_V1)


def encode_durable_response() -> bytes:
    """The data of a DHnQ response."""
    return _RESPONSE_V1


def decode_durable_reconnect(data: memoryview | bytes) -> DurableReconnect:
    """Decode the data of a DHnC request."""
    return DurableReconnect(*_FILE_ID.unpack(_sized(_FILE_ID, data, "DHnC")))


def encode_durable_reconnect(asked: DurableReconnect) -> bytes:
    """The data of a DHnC request."""
    return _FILE_ID.pack(asked.persistent, asked.volatile)


def decode_durable_request_v2(data: memoryview | bytes) -> DurableRequestV2:
    """Decode the data of a DH2Q request."""
    timeout, flags, guid = _REQUEST_V2.unpack(_sized(_REQUEST_V2, data, "DH2Q"))
    return DurableRequestV2(guid, timeout, flags)


def encode_durable_request_v2(asked: DurableRequestV2) -> bytes:
    """The data of a DH2Q request."""
    return _REQUEST_V2.pack(asked.timeout, asked.flags, asked.create_guid)


def decode_durable_reconnect_v2(data: memoryview | bytes) -> DurableReconnect:
    """Decode the data of a DH2C request."""
    return DurableReconnect(*_RECONNECT_V2.unpack(_sized(_RECONNECT_V2, data, "DH2C")))


def encode_durable_reconnect_v2(asked: DurableReconnect) -> bytes:
    """The data of a DH2C request."""
    return _RECONNECT_V2.pack(*asked)


def encode_durable_response_v2(granted: tuple[int, int]) -> bytes:
    """The data of a DH2Q response; `granted` as DurableResponseV2."""
    return _RESPONSE_V2.pack(*granted)


def decode_durable_response_v2(data: memoryview | bytes) -> DurableResponseV2:
    """Decode the data of a DH2Q response."""
    return DurableResponseV2(*_RESPONSE_V2.unpack(_sized(_RESPONSE_V2, data, "DH2Q response")))


def decode_app_instance_id(data: memoryview | bytes) -> bytes:
    """The AppInstanceId of its context (2.2.13.2.13)."""
    size, _, instance = _APP_INSTANCE_ID.unpack(_sized(_APP_INSTANCE_ID, data, "AppInstanceId"))
    if size != _APP_INSTANCE_ID.size:
        raise WireError(f"AppInstanceId context with StructureSize {size}")
    return bytes(instance)


def encode_app_instance_id(instance: bytes) -> bytes:
    """The data of an AppInstanceId context."""
    return _APP_INSTANCE_ID.pack(_APP_INSTANCE_ID.size, 0, instance)


def decode_app_instance_version(data: memoryview | bytes) -> AppInstanceVersion:
    """The version in its context (2.2.13.2.15)."""
    size, _, _, high, low = _APP_INSTANCE_VERSION.unpack(_sized(_APP_INSTANCE_VERSION, data, "AppInstanceVersion"))
    if size != _APP_INSTANCE_VERSION.size:
        raise WireError(f"AppInstanceVersion context with StructureSize {size}")
    return AppInstanceVersion(high, low)


def encode_app_instance_version(version: AppInstanceVersion) -> bytes:
    """The data of an AppInstanceVersion context."""
    return _APP_INSTANCE_VERSION.pack(_APP_INSTANCE_VERSION.size, 0, 0, *version)


def decode_resiliency_request(data: memoryview | bytes) -> int:
    """The Timeout of a NETWORK_RESILIENCY_REQUEST in milliseconds; what comes behind it is passed over."""
    if len(data) < _RESILIENCY.size:
        raise WireError(f"a request for resiliency with {len(data)} bytes instead of {_RESILIENCY.size}")
    timeout: int = _RESILIENCY.unpack_from(data)[0]
    return timeout


def encode_resiliency_request(timeout: int) -> bytes:
    """A NETWORK_RESILIENCY_REQUEST; `timeout` in milliseconds."""
    return _RESILIENCY.pack(timeout, 0)


def _sized(layout: Struct, data: memoryview | bytes, name: str) -> memoryview | bytes:
    if len(data) != layout.size:
        raise WireError(f"{name} context with {len(data)} bytes of data instead of {layout.size}")
    return data
