"""The pytest plugin, as a person's own test suite would use it."""

import subprocess
import sys
from pathlib import Path

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
