"""A share of each store in a configuration file, as administrators have it: it comes and goes while the server runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.stores import Store
from tests.support.processes import REPOSITORY, Layout, ServerProcess, User
from tests.support.smbclient import SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")

USER = User("alice", "a-good-password")
_SERVER = '[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\nstate = "state"\n'
_OTHER = '\n[share.other]\npath = "other"\n'


class Administered:
    """`lamina run` with a configuration file that the test writes."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._file = store, folder / "lamina.toml"
        (folder / "other").mkdir()
        path = os.pathsep.join([str(REPOSITORY), *store.python_path])
        self._environment = {**os.environ, "PYTHONPATH": path, "XDG_RUNTIME_DIR": str(folder)}
        self.write(with_store=False)
        whose = ("--accounts", str(folder / "accounts.db"), "--uid", str(os.geteuid()), "--gid", str(os.getegid()))
        self.lamina("user", "add", USER.name, "--password-stdin", *whose, said=f"{USER.password}\n")
        self._process = subprocess.Popen(
            [*_LAMINA, "run", "-c", str(self._file), "--json"],
            env=self._environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        port = next(event for event in self._events() if event["event"] == "listening")["listeners"][0]["port"]
        self.server = ServerProcess("lamina", self._process, port, Layout({}, [USER]), folder / "log")

    def write(self, with_store: bool) -> None:
        self._file.write_text(_SERVER + _OTHER + ("\n" + self._store.configuration() if with_store else ""))

    def reload(self) -> str:
        """Reload; what `lamina` says of it."""
        return self.lamina("reload", "-c", str(self._file))

    def lamina(self, *arguments: str, said: str = "") -> str:
        done = subprocess.run(
            [*_LAMINA, *arguments], env=self._environment, input=said, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _events(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def end(self) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


_LAMINA = (sys.executable, "-m", "lamina.core.cli")


@pytest.fixture
def administered(store: Store, tmp_path: Path) -> Iterator[Administered]:
    running = Administered(store, tmp_path)
    yield running
    running.end()


def test_a_share_comes_goes_and_comes_back_with_what_was_in_it(
    store: Store, administered: Administered, tmp_path: Path
) -> None:
    root = store.new_folder("reloaded", 0o777)
    client = SmbClient(administered.server, share="store", directory=root.lstrip("/"))
    other = SmbClient(administered.server, share="other")
    (tmp_path / "sent").write_bytes(b"content")
    assert "NT_STATUS_BAD_NETWORK_NAME" in client.do("ls").output
    administered.write(with_store=True)
    assert "share store added" in administered.reload()
    client.do("put sent file", local=tmp_path).check()
    administered.write(with_store=False)
    assert "share store removed" in administered.reload()
    assert "NT_STATUS_BAD_NETWORK_NAME" in client.do("ls").output
    other.do("put sent file", local=tmp_path).check()
    administered.write(with_store=True)
    assert "share store added" in administered.reload()
    client.do("get file back", local=tmp_path).check()
    assert (tmp_path / "back").read_bytes() == store.view.read(f"{root}/file") == b"content"
