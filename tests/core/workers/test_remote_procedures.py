"""What remote procedure calls tell of a server of two workers is what there is in both (MS-SRVS 3.1.4)."""

import shutil
import subprocess

import pytest

from tests.support.crew import Crew
from tests.support.served import new_file

pytestmark = pytest.mark.skipif(
    not shutil.which("rpcclient"), reason="rpcclient is not installed: apt install smbclient"
)


def ask(crew: Crew, command: str) -> str:
    user = crew.server.layout.users[-1]
    asked = ["rpcclient", "-p", str(crew.server.port), "-U", f"{user.name}%{user.password}", "127.0.0.1", "-c", command]
    return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout


def test_what_is_open_in_all_workers_is_told(crew: Crew) -> None:
    for at, client in enumerate(crew.in_each()):
        new_file(client, f"file{at}")
    told = ask(crew, "netfileenum; netsessenum")
    assert {"C:\\share\\file0", "C:\\share\\file1"} <= set(told.splitlines())
    # Theirs, and that of who asks.
    assert int(told.rpartition("Received ")[2].split()[0]) >= 3
