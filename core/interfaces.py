"""The network interfaces that clients may open further channels to (MS-SMB2 2.2.32.5, 3.3.5.15.11)."""

import array
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_SIOCGIFCONF = 0x8912
_ENTRY = 40
_DEFAULT_SPEED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """One address of one interface; `link_speed` in bits per second."""

    index: int
    address: str
    link_speed: int
    rss_capable: bool


def network_interfaces(reached_by: str) -> list[NetworkInterface]:
    """The interfaces of this machine. Loopback ones only for a client that came by loopback (`reached_by`)."""
    by_loopback = _is_loopback(reached_by)
    found = [
        NetworkInterface(socket.if_nametoindex(name), address, _speed(name), False)
        for name, address in _ipv4_addresses()
        if _is_loopback(address) == by_loopback
    ]
    if not any(interface.address == reached_by for interface in found) and reached_by:
        found.append(NetworkInterface(1, reached_by, _DEFAULT_SPEED, False))
    return found


def _is_loopback(address: str) -> bool:
    return bool(address) and ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _ipv4_addresses() -> list[tuple[str, str]]:
    buffer = array.array("B", bytes(_ENTRY * 64))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("iL", len(buffer), buffer.buffer_info()[0])
        used = struct.unpack("iL", fcntl.ioctl(probe, _SIOCGIFCONF, request))[0]
    entries = buffer.tobytes()[:used]
    return [
        (entry[:16].rstrip(b"\0").decode(), socket.inet_ntoa(entry[20:24]))
        for entry in (entries[at : at + _ENTRY] for at in range(0, used, _ENTRY))
    ]


def _speed(name: str) -> int:
    try:
        megabits = int(Path(f"/sys/class/net/{name}/speed").read_text())
    except (OSError, ValueError):
        return _DEFAULT_SPEED
    return megabits * 1_000_000 if megabits > 0 else _DEFAULT_SPEED
