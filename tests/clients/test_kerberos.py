"""Samba's and Python's clients with tickets of a real MIT KDC, in shares whose folders are of who connects."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import kdc as kdc_support
from tests.support import smbclient as smbclients
from tests.support.hosts import knowing
from tests.support.kdc import PASSWORD, REALM, Kdc, running_kdc
from tests.support.processes import Folder, Layout, ServerProcess, User, serving, shared_scratch
from tests.support.smbclient import Answer, SmbClient

pytest.importorskip("gssapi", reason="install the extra lamina[kerberos] (needs libkrb5-dev and a compiler)")
pytestmark = [
    pytest.mark.skipif(bool(kdc_support.missing()), reason=kdc_support.missing()),
    pytest.mark.skipif(not smbclients.installed(), reason="smbclient is not installed: apt install smbclient"),
    pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed: apt install util-linux"),
    pytest.mark.timeout(120),
]

USERS = ("alice", "mallory")
HOST = "files.lamina.test"
"""Samba's clients want no ticket for localhost."""


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with running_kdc(tmp_path_factory.mktemp("kdc")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture(scope="module")
def server(kdc: Kdc) -> Iterator[ServerProcess]:
    with shared_scratch() as scratch:
        for user in USERS:
            (scratch / "homes" / user).mkdir(parents=True)
            os.chmod(scratch / "homes" / user, 0o777)
        os.chmod(scratch / "homes", 0o777)
        chain = (("recycle", {"repository": ".bin/%U-%S"}), ("posix", {}))
        home = Folder(str(scratch / "homes"), chain=chain, options={"template": f"{scratch}/homes/%U"})
        machine = Folder(str(scratch / "homes"), options={"template": f"{scratch}/%m/x"})
        layout = Layout(
            shares={"home": home, "machine": machine, "all": Folder(str(scratch / "homes"))},
            users=[User(user, PASSWORD) for user in USERS],
            auth={"keytab": str(kdc.keytab), "realm": REALM},
        )
        with serving(layout, scratch / "state", "lamina") as running:
            yield running


def with_ticket(server: ServerProcess, user: str, commands: str, *arguments: str, password: str = PASSWORD) -> Answer:
    scratch = server.log.parent
    command = [*knowing(scratch, HOST), "smbclient", f"//{HOST}/home", f"--port={server.port}"]
    command += [f"--user={user}@{REALM}%{password}", "--use-kerberos=required", f"--option=realm={REALM}"]
    command += [f"--option={kind} directory={scratch}" for kind in ("lock", "state", "cache")]
    done = subprocess.run(
        [*command, *arguments, "-c", commands], check=False, capture_output=True, text=True, timeout=60
    )
    return Answer(done.returncode, done.stdout + done.stderr)


@pytest.mark.parametrize("how", ["sign", "encrypt"])
def test_smbclient_with_a_ticket_comes_home_and_what_it_deletes_goes_to_its_own_bin(
    server: ServerProcess, how: str, tmp_path: Path
) -> None:
    (tmp_path / "note").write_text("kept")
    for user in USERS:
        home = server.folder("home") / user
        commands = f"lcd {tmp_path}; put note {how}; del {how}"
        with_ticket(server, user, commands, f"--client-protection={how}").check()
        assert (home / ".bin" / f"{user}-home" / how).read_text() == "kept"


def test_smbclient_with_a_password_comes_to_the_same_folder(server: ServerProcess) -> None:
    with_ticket(server, "alice", "mkdir by-ticket").check()
    assert "by-ticket" in SmbClient(server, "home", User("ALICE", PASSWORD)).do("ls").check()
    assert "by-ticket" not in SmbClient(server, "home", User("mallory", PASSWORD)).do("ls").check()


def test_the_list_of_shares_does_not_depend_on_who_asks(server: ServerProcess) -> None:
    for user in USERS:
        listed = SmbClient(server, user=User(user, PASSWORD)).list_shares().check().split("\n")
        assert {"Disk|home|", "Disk|machine|", "Disk|all|"} <= set(listed)


@pytest.mark.parametrize("name", ["..", "HOMES/ALICE", "%U"])
def test_a_machine_that_calls_itself_a_path_gets_nowhere(server: ServerProcess, name: str) -> None:
    client = SmbClient(server, "machine", User("alice", PASSWORD)).with_arguments(f"--netbiosname={name}")
    assert "NT_STATUS_BAD_NETWORK_NAME" in client.do("ls").output


def test_without_a_ticket_nobody_comes_in(server: ServerProcess) -> None:
    assert with_ticket(server, "alice", "ls", password="wrong").status != 0


def test_smbprotocol_with_a_ticket_reads_and_writes(server: ServerProcess) -> None:
    connection = pytest.importorskip("smbprotocol.connection")
    from smbprotocol.session import Session
    from smbprotocol.tree import TreeConnect

    made = connection.Connection(uuid.uuid4(), "localhost", server.port)
    made.connect()
    try:
        session = Session(made, f"alice@{REALM}", PASSWORD, require_encryption=True, auth_protocol="kerberos")
        session.connect()
        TreeConnect(session, r"\\localhost\home").connect()
        assert len(session.session_key) == 16
    finally:
        made.disconnect()
