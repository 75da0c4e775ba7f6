"""What the kernel tells of the network interfaces."""

from pathlib import Path

import pytest

from lamina.core.interfaces import DEFAULT_SPEED, network_interfaces

NOTHING = Path("/nonexistent")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A made-up /sys/class in which the loopback interface, which every machine has, is what a test says."""
    folder = tmp_path / "net" / "lo"
    (folder / "queues" / "rx-0").mkdir(parents=True)
    (folder / "operstate").write_text("up\n")
    return tmp_path


def loopback(system: Path, ipv6: Path = NOTHING) -> list[tuple[str, int, bool, bool]]:
    found = [each for each in network_interfaces(system, ipv6) if each.name == "lo"]
    assert all(each.index > 0 for each in found)
    return [(each.address, each.link_speed, each.rss_capable, each.rdma_capable) for each in found]


def test_this_machine_has_loopback() -> None:
    assert "127.0.0.1" in [each.address for each in network_interfaces()]


@pytest.mark.parametrize(("speed", "told"), [("25000\n", 25_000_000_000), ("-1\n", DEFAULT_SPEED), ("", DEFAULT_SPEED)])
def test_the_speed_is_that_of_the_link(system: Path, speed: str, told: int) -> None:
    (system / "net/lo/speed").write_text(speed)
    assert ("127.0.0.1", told, False, False) in loopback(system)


def test_several_queues_receive_side_by_side(system: Path) -> None:
    (system / "net/lo/queues/rx-1").mkdir()
    assert ("127.0.0.1", DEFAULT_SPEED, True, False) in loopback(system)


@pytest.mark.parametrize("place", ["mlx5_0/ports/1/gid_attrs/ndevs/0", "mlx5_0/device/net/lo/address"])
def test_an_rdma_device_names_its_interface(system: Path, place: str) -> None:
    path = system / "infiniband" / place
    path.parent.mkdir(parents=True)
    path.write_text("lo\n")
    assert ("127.0.0.1", DEFAULT_SPEED, False, True) in loopback(system)


@pytest.mark.parametrize(("state", "there"), [("up", True), ("unknown", True), ("down", False), ("dormant", False)])
def test_an_interface_that_is_not_up_is_not_there(system: Path, state: str, there: bool) -> None:
    (system / "net/lo/operstate").write_text(state + "\n")
    assert bool(loopback(system)) is there


def test_addresses_of_ipv6_that_cannot_be_used_are_left_out(system: Path, tmp_path: Path) -> None:
    listed = tmp_path / "if_inet6"
    listed.write_text(
        "20010db8000000000000000000000001 01 40 00 80       lo\n"
        "20010db8000000000000000000000002 01 40 00 08       lo\n"
        "20010db8000000000000000000000003 01 40 00 40       lo\n"
        "20010db8000000000000000000000004 01 40 00 20       lo\n"
    )
    addresses = [address for address, *_ in loopback(system, listed) if ":" in address]
    assert addresses == ["2001:db8::1"]


def test_without_anything_in_sys_the_addresses_are_there(tmp_path: Path) -> None:
    assert ("127.0.0.1", DEFAULT_SPEED, False, False) in loopback(tmp_path)
