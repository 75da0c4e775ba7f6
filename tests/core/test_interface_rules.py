"""Which addresses clients are told of, and how the lists are written."""

import pytest

from lamina.core.interface_rules import InterfaceEntry, NetworkInterface, announced, parse_entry

ETHERNET = NetworkInterface("eth0", "192.0.2.10", 2, 1_000_000_000)
FAST = NetworkInterface("eth1", "198.51.100.10", 3, 10_000_000_000, rss_capable=True)
FAST_V6 = NetworkInterface("eth1", "2001:db8::10", 3, 10_000_000_000, rss_capable=True)
LOOPBACK = NetworkInterface("lo", "127.0.0.1", 1, 1_000_000_000)
LOOPBACK_V6 = NetworkInterface("lo", "::1", 1, 1_000_000_000)
LINK_LOCAL = NetworkInterface("eth0", "169.254.1.2", 2, 1_000_000_000)
LINK_LOCAL_V6 = NetworkInterface("eth0", "fe80::1", 2, 1_000_000_000)
ALL = [LOOPBACK, ETHERNET, FAST, LOOPBACK_V6, FAST_V6, LINK_LOCAL, LINK_LOCAL_V6]


def told(*allowed: str, denied: tuple[str, ...] = (), reached_by: str = "192.0.2.10") -> list[str]:
    entries, others = ([parse_entry(text) for text in texts] for texts in (allowed, denied))
    return [each.address for each in announced(ALL, entries, others, reached_by, lambda address: True)]


def test_without_lists_all_but_loopback_and_link_local_are_told_the_fastest_first() -> None:
    assert told() == ["198.51.100.10", "2001:db8::10", "192.0.2.10"]


@pytest.mark.parametrize("reached_by", ["127.0.0.1", "::1", "127.5.5.5"])
def test_a_client_that_came_by_loopback_is_told_of_loopback_only(reached_by: str) -> None:
    assert told(reached_by=reached_by) == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("entries", "addresses"),
    [
        (("eth1",), ["198.51.100.10", "2001:db8::10"]),
        (("eth*",), ["198.51.100.10", "2001:db8::10", "192.0.2.10", "169.254.1.2"]),
        (("eth?", "lo"), ["198.51.100.10", "2001:db8::10", "192.0.2.10", "169.254.1.2"]),
        (("192.0.2.10",), ["192.0.2.10"]),
        (("192.0.2.0/24",), ["192.0.2.10"]),
        (("192.0.2.0/255.255.255.0",), ["192.0.2.10"]),
        (("192.0.2.10/24",), ["192.0.2.10"]),
        (("192.0.2.11/24",), []),
        (("2001:db8::/32", "192.0.2.10"), ["2001:db8::10", "192.0.2.10"]),
        (("fe80::/10",), []),
        (("169.254.0.0/16",), ["169.254.1.2"]),
        (("wlan0",), []),
    ],
)
def test_only_what_an_entry_matches_is_told(entries: tuple[str, ...], addresses: list[str]) -> None:
    assert told(*entries) == addresses


def test_what_is_denied_is_not_told_even_if_it_is_allowed() -> None:
    assert told(denied=("eth1",)) == ["192.0.2.10"]
    assert told("eth*", denied=("198.51.100.0/24", "169.254.0.0/16")) == ["2001:db8::10", "192.0.2.10"]


def test_addresses_that_nobody_listens_on_are_not_told() -> None:
    assert announced(ALL, [], [], "192.0.2.10", lambda address: address == ETHERNET.address) == [ETHERNET]


def test_an_entry_may_know_better_than_the_kernel() -> None:
    entry = parse_entry("eth0;speed=40000000000, capability=RSS|RDMA ,if_index=7")
    assert announced([ETHERNET], [entry], [], "192.0.2.10", lambda address: True) == [
        NetworkInterface("eth0", "192.0.2.10", 7, 40_000_000_000, rss_capable=True, rdma_capable=True)
    ]
    none = parse_entry("eth1;capability=RDMA")
    (corrected,) = announced([FAST], [none], [], "192.0.2.10", lambda address: True)
    assert (corrected.rss_capable, corrected.rdma_capable) == (False, True)


def test_sambas_way_to_write_two_capabilities_is_understood() -> None:
    entry = parse_entry("192.0.2.10/24;if_index=2,speed=10000000000,capability=RSS,capability=RDMA")
    assert entry == InterfaceEntry(entry.pattern, entry.network, 10_000_000_000, frozenset({"RSS", "RDMA"}), 2)


@pytest.mark.parametrize(
    "text",
    ["", " ", ";speed=1", "eth0 eth1", "192.0.2.0/33", "nonsense/24", "eth0;speed=fast", "eth0;speed=0", "eth0;speed",
     "eth0;if_index=-1", "eth0;if_index=4294967296", "eth0;capability=TOE", "eth0;colour=red",
     "eth0;speed=" + "9" * 30],
)  # fmt: skip
def test_a_wrong_entry_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_entry(text)
