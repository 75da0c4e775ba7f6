"""Which addresses clients are told to open further channels to (MS-SMB2 2.2.32.5, 3.3.5.15.11). Pure rules.

Entries of the lists are written as in Samba's `interfaces`: the name of an interface, in which `*` and `?` stand for
other characters, an address, or a network, each perhaps with `;speed=…,capability=…,if_index=…` behind, which replaces
what the kernel says.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

_CAPABILITIES: Final = ("RSS", "RDMA")


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """One address of one interface; `link_speed` in bits per second."""

    name: str
    address: str
    index: int
    link_speed: int
    rss_capable: bool = False
    rdma_capable: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceEntry:
    """An entry of a list: what it matches, and what is told instead of what the kernel says (None: nothing else)."""

    pattern: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    speed: int | None = None
    capabilities: frozenset[str] | None = None
    index: int | None = None

    def matches(self, interface: NetworkInterface) -> bool:
        """Whether the entry means this interface, or its address."""
        if self.network is None:
            return fnmatchcase(interface.name, self.pattern)
        return ipaddress.ip_address(interface.address) in self.network

    def corrected(self, interface: NetworkInterface) -> NetworkInterface:
        """The interface as the entry has it."""
        told = self.capabilities
        return replace(
            interface,
            index=interface.index if self.index is None else self.index,
            link_speed=interface.link_speed if self.speed is None else self.speed,
            rss_capable=interface.rss_capable if told is None else "RSS" in told,
            rdma_capable=interface.rdma_capable if told is None else "RDMA" in told,
        )


def parse_entry(text: str) -> InterfaceEntry:
    """The entry that `text` writes. Raises ValueError, which says what is wrong with it."""
    what, _, options = text.partition(";")
    pattern = what.strip()
    if not pattern or any(character.isspace() for character in pattern):
        raise ValueError(
            f'must be an interface, an address or a network, such as "eth*" or "192.0.2.0/24", not "{text}"'
        )
    entry = InterfaceEntry(pattern, _network(pattern))
    for option in filter(None, (part.strip() for part in options.split(","))):
        entry = _with_option(entry, *(part.strip() for part in option.partition("=")[::2]))
    return entry


def _network(pattern: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The addresses that are meant; None for the name of an interface. An address with a mask is that address."""
    try:
        interface = ipaddress.ip_interface(pattern)
    except ValueError:
        if "/" in pattern:
            raise ValueError(f'"{pattern}" is no network') from None
        return None
    if interface.ip == interface.network.network_address:
        return interface.network
    return ipaddress.ip_network(interface.ip)


def _with_option(entry: InterfaceEntry, name: str, value: str) -> InterfaceEntry:
    match name:
        case "speed":
            return replace(entry, speed=_positive(name, value, 2**64))
        case "if_index":
            return replace(entry, index=_positive(name, value, 2**32))
        case "capability":
            told = frozenset(part.strip().upper() for part in value.split("|"))
            if not told <= set(_CAPABILITIES):
                raise ValueError(f'capability must be RSS, RDMA or RSS|RDMA, not "{value}"')
            return replace(entry, capabilities=(entry.capabilities or frozenset()) | told)
    raise ValueError(f'"{name}" is none of speed, capability and if_index')


def _positive(name: str, value: str, limit: int) -> int:
    if not value.isascii() or not value.isdecimal() or not 0 < int(value) < limit:
        raise ValueError(f'{name} must be a positive number, not "{value}"')
    return int(value)


def announced(
    interfaces: Sequence[NetworkInterface],
    allowed: Sequence[InterfaceEntry],
    denied: Sequence[InterfaceEntry],
    reached_by: str,
    listens_on: Callable[[str], bool],
) -> list[NetworkInterface]:
    """What a client is told that has reached the server by the address `reached_by`; the fastest first.

    Told are addresses that the server listens on, that an entry of `allowed` matches (or all, where there is none),
    and no entry of `denied`. A client that came by loopback is told of loopback, and nobody else is. Link-local
    addresses of IPv6 mean nothing to another machine and are never told, those of IPv4 where an entry matches them.
    """
    loopback = _is_loopback(reached_by)
    told = []
    for interface in interfaces:
        entry = next((each for each in allowed if each.matches(interface)), None)
        if (allowed and entry is None) or any(each.matches(interface) for each in denied):
            continue
        address = ipaddress.ip_address(interface.address)
        if address.is_loopback is not loopback or (address.is_link_local and (address.version == 6 or entry is None)):
            continue
        if listens_on(interface.address):
            told.append(entry.corrected(interface) if entry is not None else interface)
    return sorted(told, key=lambda interface: -interface.link_speed)


def _is_loopback(address: str) -> bool:
    return bool(address) and ipaddress.ip_address(address.partition("%")[0]).is_loopback
