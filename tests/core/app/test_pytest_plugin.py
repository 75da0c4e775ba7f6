"""The pytest plugin, as a person's own test suite would use it."""

import contextlib
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import smbclient
from smbprotocol.exceptions import SMBException

from lamina.core.smb_fixture import SmbServerFixture
from lamina.core.tracing import Filter
from lamina.vfs_modules.stock.faults import Fault
from tests.support.processes import REPOSITORY

TESTS = """
import socket

def test_one(lamina_server, tmp_path):
    assert lamina_server.username and lamina_server.password
    assert (tmp_path / "share").is_dir()
    socket.create_connection((lamina_server.address, lamina_server.port)).close()

def test_several(lamina_server_factory, tmp_path):
    first, second = lamina_server_factory(), lamina_server_factory({"x": tmp_path}, read_only=True)
    assert first.port != second.port
"""


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_its_fixtures_serve_and_end(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    assert "2 passed" in run(tmp_path)


def test_it_costs_nothing_until_a_fixture_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'lamina.core.pytest_plugin' in sys.modules\n"
        "    assert not {'asyncio', 'lamina.core.server', 'pydantic', 'uvloop', 'cryptography'} & set(sys.modules)\n"
    )
    out = run(tmp_path, "-p", "no:hypothesispytest", "-p", "no:xdist", "-p", "no:benchmark", "-p", "no:anyio")
    assert "1 passed" in out, out


def test_the_documented_example_of_faults_is_one_that_passes(tmp_path: Path) -> None:
    example = (REPOSITORY / "docs/examples/test_faults.py").read_text()
    assert f"```python\n{example}```" in (REPOSITORY / "docs/module-tools.md").read_text()
    (tmp_path / "test_faults.py").write_text(example)
    assert "2 passed" in run(tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmbServerFixture]:
    server = SmbServerFixture(tmp_path)
    yield server
    server.close()


def client_of(server: SmbServerFixture) -> dict[str, Any]:
    return {"username": server.username, "password": server.password, "port": server.port, "connection_cache": {}}


def test_shares_are_added_while_clients_are_connected_to_others(server: SmbServerFixture, tmp_path: Path) -> None:
    client = client_of(server)
    first = server.share("first")
    with smbclient.open_file(rf"{first.unc}\file", mode="wb", **client) as file:
        second = server.share("second", read_only=True, faults=[Fault(operations={"readdir"}, error="EIO")])
        with pytest.raises((OSError, SMBException)):
            smbclient.listdir(second.unc, **client)
        file.write(b"text")
    assert (tmp_path / "first/file").read_bytes() == b"text"
    assert (first.faults.injected, len(second.faults.injected) > 0) == (deque(), True)
    with pytest.raises(ValueError, match="there is a share 'first' already"):
        server.share("first")
    assert first.url == f"smb://127.0.0.1:{server.port}/first"
    smbclient.reset_connection_cache(connection_cache=client["connection_cache"])


def test_the_same_seed_breaks_the_same(server: SmbServerFixture) -> None:
    client = client_of(server)
    calls = []
    for number, seed in enumerate((1, 1, 2)):
        faults = [Fault(operations={"fstat"}, error="EIO", probability=0.3)]
        share = server.share(f"share{number}", faults=faults, seed=seed)
        for _ in range(20):
            with contextlib.suppress(OSError, SMBException):
                smbclient.stat(share.unc, **client)
        calls.append([fault.call for fault in share.faults.injected][:5])
    assert calls[0] == calls[1] != calls[2]
    smbclient.reset_connection_cache(connection_cache=client["connection_cache"])


def test_what_fails_can_be_traced(server: SmbServerFixture) -> None:
    client = client_of(server)
    share = server.share()
    share.faults.inject("open", error="EACCES", times=1)
    with share.trace(Filter(failures=True)) as records:
        with pytest.raises((OSError, SMBException)):
            smbclient.open_file(rf"{share.unc}\file", mode="rb", **client)
        (record,) = records()
    assert (record["command"], record["status"], record["steps"][0]["error"]) == ("CREATE", "ACCESS_DENIED", "EACCES")
    smbclient.reset_connection_cache(connection_cache=client["connection_cache"])
