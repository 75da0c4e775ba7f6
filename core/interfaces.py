"""The network interfaces of this machine, as the kernel tells of them: addresses, link speeds, queues, RDMA.

Which of them clients are told of is decided in `interface_rules`.
"""

import array
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lamina.core.interface_rules import NetworkInterface

DEFAULT_SPEED: Final = 1_000_000_000
"""Bits per second where the kernel tells none: of loopback, and of much that is virtual."""

_SIOCGIFCONF: Final = 0x8912
_ENTRY: Final = 40
_MOST_ENTRIES: Final = 1024
_UNUSABLE_V6: Final = 0x08 | 0x20 | 0x40
"""IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE (linux/if_addr.h)."""

_SYSTEM: Final = Path("/sys/class")
_IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")


def network_interfaces(system: Path = _SYSTEM, ipv6_addresses: Path = _IPV6_ADDRESSES) -> list[NetworkInterface]:
    """One for each address of each interface that is up and connected. The paths are the kernel's, but for tests."""
    found = [*_ipv4_addresses(), *_ipv6_addresses(ipv6_addresses)]
    rdma = _rdma_names(system)
    described = {name: _describe(system, name, rdma) for name in dict.fromkeys(name for name, _ in found)}
    return [
        NetworkInterface(name, address, *about) for name, address in found if (about := described[name]) is not None
    ]


def _describe(system: Path, name: str, rdma: frozenset[str]) -> tuple[int, int, bool, bool] | None:
    """Index, link speed, and whether RSS and RDMA are there; None where nobody can be reached by the interface."""
    folder = system / "net" / name
    index = _index(name)
    if not index or _text(folder / "operstate") not in ("up", "unknown", ""):
        return None
    megabits = _number(folder / "speed")
    queues = len(list(folder.glob("queues/rx-*")))
    return index, megabits * 1_000_000 if megabits > 0 else DEFAULT_SPEED, queues > 1, name in rdma


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _rdma_names(system: Path) -> frozenset[str]:
    """The interfaces that an RDMA device says are its own."""
    devices = system / "infiniband"
    by_port = (_text(path) for path in devices.glob("*/ports/*/gid_attrs/ndevs/*"))
    return frozenset(filter(None, (*by_port, *(path.name for path in devices.glob("*/device/net/*")))))


def _ipv4_addresses() -> Iterator[tuple[str, str]]:
    """Name and address (netdevice(7), SIOCGIFCONF)."""
    buffer = array.array("B", bytes(_ENTRY * _MOST_ENTRIES))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("iL", len(buffer), buffer.buffer_info()[0])
        used = struct.unpack("iL", fcntl.ioctl(probe, _SIOCGIFCONF, request))[0]
    entries = buffer.tobytes()[:used]
    for at in range(0, used, _ENTRY):
        entry = entries[at : at + _ENTRY]
        # An alias of old is shown as "eth0:1".
        yield entry[:16].rstrip(b"\0").decode().partition(":")[0], socket.inet_ntoa(entry[20:24])


def _ipv6_addresses(path: Path) -> Iterator[tuple[str, str]]:
    """The same: address, index, prefix length, scope, flags and name on each line, in hexadecimal."""
    for line in _text(path).splitlines():
        address, _, _, _, flags, name = line.split()
        if not int(flags, 16) & _UNUSABLE_V6:
            yield name, str(ipaddress.IPv6Address(bytes.fromhex(address)))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    try:
        return int(_text(path))
    except ValueError:
        return 0
