"""Copies by the server, symbolic links and extended attributes, as smbprotocol's and Samba's clients ask for them."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import smbclient
import smbclient.path

from tests.clients.test_smbprotocol import Session
from tests.support.processes import ServerProcess, give_to, server_kind
from tests.support.smbclient import SmbClient, installed

needs_smbclient = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")
only_lamina = pytest.mark.skipif(
    server_kind() != "lamina", reason="smbd 4.17 has no such links, and its tests keep attributes elsewhere"
)
CONTENT = random.Random(8).randbytes(37 * 1024 * 1024 + 11)
"""More than three requests may copy."""


@pytest.fixture
def session(server: ServerProcess) -> Iterator[Session]:
    connected = Session(server, "share", server.user, encrypt=False)
    yield connected
    connected.close()


@pytest.fixture
def client(server: ServerProcess, place: Path) -> SmbClient:
    return SmbClient(server, directory=place.name)


def test_a_python_client_has_a_file_copied(session: Session, place: Path, server: ServerProcess) -> None:
    (place / "source").write_bytes(CONTENT)
    give_to(place, server.user)
    source, target = session.path(place.name, "source"), session.path(place.name, "target")
    smbclient.copyfile(source, target, **session.options)
    assert (place / "target").read_bytes() == CONTENT


@needs_smbclient
def test_smbclient_has_a_file_copied(client: SmbClient, place: Path, server: ServerProcess) -> None:
    (place / "source").write_bytes(CONTENT)
    give_to(place, server.user)
    client.do("scopy source target").check()
    assert (place / "target").read_bytes() == CONTENT


@only_lamina
def test_a_python_client_makes_reads_and_removes_links(session: Session, place: Path) -> None:
    (place / "folder").mkdir()
    (place / "folder" / "file").write_text("content")
    link = session.path(place.name, "link")
    smbclient.symlink("folder\\file", link, **session.options)
    assert os.readlink(place / "link") == "folder/file"
    assert smbclient.readlink(link, **session.options).endswith("folder\\file")
    assert smbclient.path.islink(link, **session.options)
    assert session.read(link) == b"content"
    smbclient.remove(link, **session.options)
    assert sorted(os.listdir(place)) == ["folder"]
    assert (place / "folder" / "file").read_text() == "content"


def test_a_python_client_keeps_extended_attributes(session: Session, place: Path) -> None:
    file = session.path(place.name, "file")
    session.write(file, b"data")
    smbclient.setxattr(file, "first", b"1" * 100, **session.options)
    smbclient.setxattr(file, "second", b"2", **session.options)
    assert {name.lower() for name in smbclient.listxattr(file, **session.options)} == {b"first", b"second"}
    assert smbclient.getxattr(file, "first", **session.options) == b"1" * 100
    smbclient.removexattr(file, "first", **session.options)
    assert {name.lower() for name in smbclient.listxattr(file, **session.options)} == {b"second"}


@only_lamina
@needs_smbclient
def test_smbclient_keeps_extended_attributes(client: SmbClient, place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    answer = client.do("put file", "setea file colour blue", "geteas file", local=tmp_path).check()
    assert "colour" in answer.lower()
    assert os.getxattr(place / "file", "user.colour").rstrip(b"\0") == b"blue"


@needs_smbclient
def test_smbclient_tells_all_it_knows_of_a_file(client: SmbClient, place: Path, server: ServerProcess) -> None:
    (place / "file").write_text("x")
    give_to(place, server.user)
    answer = client.do("allinfo file", "altname file").check()
    assert "altname: file" in answer
    assert "stream: [::$DATA], 1 bytes" in answer
