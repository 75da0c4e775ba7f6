"""What FSCTL_QUERY_NETWORK_INTERFACE_INFO answers (MS-SMB2 2.2.32.5 NETWORK_INTERFACE_INFO Response)."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final, Protocol

from lamina.core.wire.errors import WireError
from lamina.core.wire.fields import unpack_at

RSS_CAPABLE: Final = 0x00000001
RDMA_CAPABLE: Final = 0x00000002

_INTERFACE = Struct("<IIIIQ128s")
_FAMILY = Struct("<H")
_INTERNETWORK: Final = 0x0002
_INTERNETWORK_V6: Final = 0x0017
# Family, Port, and the address: 2.2.32.5.1.1 SOCKADDR_IN, 2.2.32.5.1.2 SOCKADDR_IN6 (after FlowInfo; ScopeId behind).
_SOCKADDR_IN = Struct("<HH4s")
_SOCKADDR_IN6 = Struct("<HHI16sI")


class NetworkInterface(Protocol):
    """What is told of one address; `link_speed` in bits per second."""

    @property
    def index(self) -> int: ...  # noqa: D102 - IfIndex
    @property
    def address(self) -> str: ...  # noqa: D102 - IPv4 or IPv6 in text
    @property
    def link_speed(self) -> int: ...  # noqa: D102
    @property
    def rss_capable(self) -> bool: ...  # noqa: D102
    @property
    def rdma_capable(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class NetworkInterfaceInfo:
    """One decoded entry: a NetworkInterface."""

    index: int
    address: str
    link_speed: int
    rss_capable: bool = False
    rdma_capable: bool = False


def encode_network_interfaces(interfaces: Sequence[NetworkInterface]) -> bytes:
    """The list, one entry for each address."""
    last = len(interfaces) - 1
    return b"".join(
        _INTERFACE.pack(
            0 if position == last else _INTERFACE.size,
            interface.index,
            (RSS_CAPABLE if interface.rss_capable else 0) | (RDMA_CAPABLE if interface.rdma_capable else 0),
            0,
            interface.link_speed,
            _encode_address(interface.address),
        )
        for position, interface in enumerate(interfaces)
    )


def _encode_address(text: str) -> bytes:
    address = ip_address(text.partition("%")[0])
    if address.version == 4:
        return _SOCKADDR_IN.pack(_INTERNETWORK, 0, address.packed)
    return _SOCKADDR_IN6.pack(_INTERNETWORK_V6, 0, 0, address.packed, 0)


def decode_network_interfaces(data: memoryview) -> list[NetworkInterfaceInfo]:
    """The entries of the list."""
    found = []
    while data:
        following, index, capability, _, speed, address = unpack_at(_INTERFACE, data, 0, "NETWORK_INTERFACE_INFO")
        rss, rdma = bool(capability & RSS_CAPABLE), bool(capability & RDMA_CAPABLE)
        found.append(NetworkInterfaceInfo(index, _decode_address(address), speed, rss, rdma))
        if not following:
            break
        if following % 8 or following < _INTERFACE.size or following >= len(data):
            raise WireError(f"NETWORK_INTERFACE_INFO with Next {following}")
        data = data[following:]
    return found


def _decode_address(storage: bytes) -> str:
    (family,) = _FAMILY.unpack_from(storage)
    if family == _INTERNETWORK:
        return str(IPv4Address(_SOCKADDR_IN.unpack_from(storage)[2]))
    if family == _INTERNETWORK_V6:
        return str(IPv6Address(_SOCKADDR_IN6.unpack_from(storage)[3]))
    raise WireError(f"NETWORK_INTERFACE_INFO with an address of family {family}")
