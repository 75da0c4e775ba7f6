"""A module that is uninstalled while it is configured, or that cannot start: its share is refused, the others serve."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from smbprotocol.exceptions import SMBOSError

from lamina.core.blame import Repeated
from tests.core.app.test_run import config, port_of
from tests.support.configured import Client

__all__ = ["config"]

Start = Callable[..., Any]
BAD_NETWORK_NAME = 0xC00000CC

SOURCE = """
import sys

from lamina.vfs_modules.module import VfsModule


class Vendor(VfsModule):
    name = "vendor"

    def connect(self, share):
        {connect}
"""


class Site:
    """A folder of distributions, with one that has the module `vendor`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points = folder / "vendor-1.0.dist-info/entry_points.txt"
        self.points.parent.mkdir(parents=True)
        (self.points.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
        self.install()

    def install(self, connect: str = "pass") -> None:
        self.points.write_text("[lamina.vfs_modules]\nvendor = vendor_module:Vendor\n")
        (self.folder / "vendor_module.py").write_text(SOURCE.format(connect=connect))

    def uninstall(self) -> None:
        for file in (self.points, self.points.parent / "METADATA", self.folder / "vendor_module.py"):
            file.unlink()
        self.points.parent.rmdir()

    def break_import(self) -> None:
        (self.folder / "vendor_module.py").write_text("import nothing_of_this_name\n")


@pytest.fixture
def site(tmp_path: Path, environment: dict[str, str]) -> Site:
    made = Site(tmp_path / "site")
    environment["PYTHONPATH"] = os.pathsep.join([str(made.folder), os.environ.get("PYTHONPATH", "")])
    return made


@pytest.fixture
def vendors(config: Path) -> Path:
    """A configuration with a share that has the vendor's module, and one that has not."""
    chain = 'chain = ["vendor", "streams_xattr", "dos_attributes", "posix"]\n'
    shares = f'[share.one]\npath = "one"\n{chain}\n[share.two]\npath = "two"\n'
    config.write_text('[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\n' + shares)
    return config


def served(server: Any, port: int) -> set[str]:
    """The shares that somebody who connects now can list; the others must be unknown."""
    found = set()
    for share in ("one", "two"):
        client = Client(port)
        try:
            found |= {share} if client.listing(share) else set()
        except SMBOSError as error:
            if error.ntstatus != BAD_NETWORK_NAME:
                raise
        finally:
            client.close()
    return found


def last_words(server: Any) -> list[str]:
    server.send(signal.SIGTERM)
    return list(server.errors().splitlines())


def test_a_module_that_is_gone_at_the_start_takes_its_share_alone(
    start: Start, lamina: Start, site: Site, vendors: Path
):
    site.uninstall()
    server = start("run", "-c", vendors, "--json")
    started = server.event("listening")
    assert started["shares"] == ["two"]
    assert served(server, started["listeners"][0]["port"]) == {"two"}
    (line,) = [line for line in last_words(server) if "share one" in line]
    assert "share one is not served: there is no module 'vendor'; " in line
    assert "there is no module 'vendor'" in lamina("check", vendors).stderr


def test_a_module_that_cannot_be_imported_takes_its_share_alone(start: Start, site: Site, vendors: Path):
    site.break_import()
    server = start("run", "-c", vendors, "--json")
    assert served(server, port_of(server)) == {"two"}
    (line,) = [line for line in last_words(server) if "share one" in line]
    assert "module 'vendor' of vendor cannot be imported: No module named 'nothing_of_this_name'" in line


@pytest.mark.parametrize(
    ("connect", "said"),
    [
        ("raise KeyError(7)", "module 'vendor' failed in connect (vendor_module.py:11): KeyError: 7"),
        ("sys.exit(3)", "module 'vendor' failed in connect (vendor_module.py:11): SystemExit: 3"),
        ("raise OSError(5, 'no licence')", "no licence"),
    ],
)
def test_a_module_that_cannot_start_takes_its_share_alone(
    start: Start, site: Site, vendors: Path, connect: str, said: str
):
    site.install(connect)
    server = start("run", "-c", vendors, "--json")
    assert served(server, port_of(server)) == {"two"}
    (line,) = [line for line in last_words(server) if "share 'one'" in line]
    assert f"{said}; it is not served" in line
    assert "Traceback" not in line


def test_a_module_that_goes_while_it_is_served_takes_its_share_alone_at_a_reload(
    start: Start, lamina: Start, site: Site, vendors: Path
):
    server = start("run", "-c", vendors, "--json")
    port = port_of(server)
    assert served(server, port) == {"one", "two"}
    connected = Client(port)
    assert connected.listing("one")
    site.uninstall()
    done = lamina("reload", "-c", vendors)
    assert done.returncode == 0, done.stderr
    assert "share one removed; share one is not served: there is no module 'vendor'" in done.stdout
    assert served(server, port) == {"two"}
    assert connected.listing("one"), "who is connected keeps the share as it was"
    connected.close()
    Site(site.folder)
    done = lamina("reload", "-c", vendors)
    assert done.stdout.startswith("reloaded: share one added")
    assert served(server, port) == {"one", "two"}


def test_a_module_that_is_misspelt_changes_nothing_at_a_reload(start: Start, lamina: Start, site: Site, vendors: Path):
    server = start("run", "-c", vendors, "--json")
    port = port_of(server)
    vendors.write_text(vendors.read_text().replace('"vendor"', '"vendro"'))
    done = lamina("reload", "-c", vendors)
    assert done.returncode == 1
    assert "nothing has changed" in done.stderr
    assert served(server, port) == {"one", "two"}


def test_where_no_share_is_left_there_is_no_server(lamina: Start, site: Site, config: Path):
    site.install("raise OSError(5, 'no licence')")
    chain = 'chain = ["vendor", "streams_xattr", "dos_attributes", "posix"]\n'
    head = '[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\n'
    config.write_text(f'{head}[share.one]\npath = "one"\n{chain}')
    for said in ("no licence", "there is no module 'vendor'"):
        done = lamina("run", "-c", config)
        assert done.returncode == 1
        assert said in done.stderr
        site.uninstall() if said == "no licence" else None


def test_a_share_that_could_not_start_does_not_stand_in_the_way_of_a_reload(
    start: Start, lamina: Start, site: Site, vendors: Path
):
    site.install("raise OSError(5, 'no licence')")
    server = start("run", "-c", vendors, "--json")
    port = port_of(server)
    vendors.write_text(vendors.read_text().replace('path = "two"\n', 'path = "two"\ncomment = "new"\n'))
    done = lamina("reload", "-c", vendors)
    assert done.returncode == 0, done.stderr
    assert served(server, port) == {"two"}


def test_what_is_said_again_and_again_is_said_once_in_a_while():
    said = Repeated(60.0)
    assert [said.withheld("a", now) for now in (0.0, 1.0, 59.0, 61.0, 62.0)] == [0, None, None, 2, None]
    assert said.withheld("b", 2.0) == 0
