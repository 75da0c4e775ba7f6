"""Linux's own SMB client over several channels, of which some are lost: in the guest, whose kernel has that client."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.linux_mount import mounted
from tests.support.processes import Folder, Layout, ServerProcess, owned_folder, serving, shared_scratch, two_users

pytestmark = pytest.mark.guest

CHANNELS = 3
BLOCK = 4096
SECONDS = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server that tells of an interface which is worth several connections; Linux makes them to port 445 only."""
    users = two_users("lamina")
    with shared_scratch() as scratch:
        shares = {"share": Folder(str(owned_folder(scratch / "share", users[0])))}
        settings = {"interfaces": ("lo;capability=RSS,speed=10000000000",)}
        with serving(Layout(shares, users, settings), scratch / "state", "lamina", port=445) as running:
            yield running


@pytest.fixture
def mount(server: ServerProcess) -> Iterator[Path]:
    # What it writes back from its cache later it does not send again when a connection is lost (6.1): no cache.
    options = f"vers=3.1.1,hard,cache=none,multichannel,max_channels={CHANNELS}"
    with shared_scratch() as scratch, mounted(server, scratch / "mounted", options) as folder:
        until(lambda: server.ask("channels")["channels"] == CHANNELS)
        yield folder


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.05)


def block(number: int) -> bytes:
    return number.to_bytes(8, "big") * (BLOCK // 8)


def test_a_file_is_whole_though_channels_were_cut_while_it_was_written(server: ServerProcess, mount: Path) -> None:
    count, cuts = 1200, 0
    with open(mount / "file", "wb", buffering=0) as file:
        for number in range(count):
            assert file.write(block(number)) == BLOCK
            if number % 300 == 150:
                cuts += server.ask("cut")["cut"]
            if number % 100 == 99:
                os.fsync(file.fileno())
    assert cuts
    on_disk = (server.folder() / "file").read_bytes()
    assert [on_disk[at : at + 8] for at in range(0, len(on_disk), BLOCK)] == [
        n.to_bytes(8, "big") for n in range(count)
    ]
    assert on_disk == b"".join(map(block, range(count)))
    assert (mount / "file").read_bytes() == on_disk


def test_lost_channels_are_made_anew(server: ServerProcess, mount: Path) -> None:
    (mount / "other").write_bytes(b"x")
    assert server.ask("cut")["cut"] == 1
    (mount / "other").write_bytes(b"y" * 100_000)
    assert (server.folder() / "other").read_bytes() == b"y" * 100_000
    until(lambda: server.ask("channels")["channels"] == CHANNELS)
