"""Whose a file is on each store: as each user, not as the server, and nobody may who may not there."""

import os
import stat
from pathlib import Path

import pytest

from tests.contrib.stores import Store
from tests.support.processes import ServerProcess
from tests.support.smbclient import SmbClient, installed

pytestmark = [
    pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient"),
    pytest.mark.skipif(os.geteuid() != 0, reason="users are told apart where the tests run as root"),
]


@pytest.fixture
def clients(server: ServerProcess) -> list[SmbClient]:
    """The same share as each user, from its top."""
    return [SmbClient(server, user=user) for user in server.layout.users[:2]]


def test_a_file_belongs_to_who_made_it(
    store: Store, clients: list[SmbClient], top: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "sent").write_bytes(b"content")
    store.give(f"{top}/{place}", store.users[0], 0o777)
    for client, user in zip(clients, store.users, strict=True):
        client.do(f"put sent {place}\\{user.name}", f"mkdir {place}\\{user.name}.d", local=tmp_path).check()
        for name in (user.name, f"{user.name}.d"):
            found = store.view.stat(f"{top}/{place}/{name}")
            assert (found.uid, found.gid) == (user.uid, user.gid)


def test_another_user_cannot_read_what_is_the_owners_alone(
    store: Store, clients: list[SmbClient], top: str, place: str, tmp_path: Path
) -> None:
    owner, other = clients
    (tmp_path / "sent").write_bytes(b"a secret")
    owner.do(f"put sent {place}\\secret", local=tmp_path).check()
    store.give(f"{top}/{place}/secret", store.users[0], 0o600)
    store.give(f"{top}/{place}", store.users[0], 0o777)
    for command in (f"get {place}\\secret stolen", f"put sent {place}\\secret", f"del {place}\\secret.not\\x"):
        assert "NT_STATUS_" in other.do(command, local=tmp_path).output, command
    assert "NT_STATUS_ACCESS_DENIED" in other.do(f"get {place}\\secret stolen", local=tmp_path).output
    assert store.view.read(f"{top}/{place}/secret") == b"a secret"
    owner.do(f"get {place}\\secret back", local=tmp_path).check()


def test_a_folder_of_one_user_is_closed_to_another(
    store: Store, clients: list[SmbClient], top: str, place: str, tmp_path: Path
) -> None:
    owner, other = clients
    (tmp_path / "sent").write_bytes(b"")
    store.give(f"{top}/{place}", store.users[0], 0o700)
    owner.do(f"put sent {place}\\file", local=tmp_path).check()
    for command in (f"ls {place}\\*", f"put sent {place}\\other", f"del {place}\\file", f"mkdir {place}\\folder"):
        assert "NT_STATUS_ACCESS_DENIED" in other.do(command, local=tmp_path).output, command
    assert store.view.names(f"{top}/{place}") == ["file"]


def test_modes_are_the_shares(store: Store, clients: list[SmbClient], top: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"")
    clients[0].do(f"put sent {place}\\file", f"mkdir {place}\\folder", local=tmp_path).check()
    modes = [stat.S_IMODE(store.view.stat(f"{top}/{place}/{name}").mode) for name in ("file", "folder")]
    assert modes == [0o744, 0o755]
