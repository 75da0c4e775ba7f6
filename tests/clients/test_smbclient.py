"""Samba's smbclient against a server: every dialect, signed and encrypted, and what people do with it every day."""

import hashlib
import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.processes import ServerProcess, User, give_to
from tests.support.smbclient import DIALECTS, SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")

SIZES = (0, 1, 4096, 65537, 9 * 1024 * 1024 + 3)
"""Nothing, a byte, a page, more than one credit, more than the largest read."""


@pytest.fixture
def client(server: ServerProcess, place: Path) -> SmbClient:
    return SmbClient(server, directory=place.name)


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(size + seed).randbytes(size)


def make_tree(folder: Path) -> dict[str, bytes]:
    """Folders three deep with files of some sizes; returns what is in them, by path."""
    files = {
        f"{parent}file{number}": content(1000 * number + len(parent), number)
        for parent in ("", "one/", "one/two/", "one/two/three/")
        for number in range(4)
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def read_tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listed(output: str) -> set[str]:
    """The names in what `ls` prints; they stand in the first 35 columns behind two spaces."""
    return {line[2:].split("  ")[0].strip() for line in output.splitlines() if line.startswith("  ") and ":" in line}


PROTECTIONS = [
    (dialect, protection)
    for dialect in DIALECTS
    for protection in ("sign", "encrypt")
    if protection == "sign" or dialect.startswith("SMB3")
]


@pytest.mark.parametrize(("dialect", "protection"), PROTECTIONS)
def test_each_dialect_carries_a_file_there_and_back(client, place, tmp_path, dialect, protection):
    (tmp_path / "sent").write_bytes(content(300_000))
    client = client.speaking(dialect).protected(protection)
    output = client.do("put sent", "ls", "get sent received", "rename sent renamed", local=tmp_path).check()
    assert "sent" in listed(output)
    assert (tmp_path / "received").read_bytes() == content(300_000)
    assert (place / "renamed").read_bytes() == content(300_000)


@pytest.mark.parametrize("dialect", DIALECTS[:2])
def test_dialects_without_encryption_refuse_to_encrypt(client, dialect):
    assert client.speaking(dialect).protected("encrypt").do("ls").status != 0


def test_a_client_that_does_not_care_for_protection_is_signed_anyway(client):
    client.protected("off").do("mkdir signed", "ls").check()


@pytest.mark.parametrize("cipher", ["AES-128-CCM", "AES-128-GCM", "AES-256-CCM", "AES-256-GCM"])
def test_each_cipher(client, place, tmp_path, cipher):
    (tmp_path / "sent").write_bytes(content(200_000))
    client = client.protected("encrypt").with_arguments(f"--option=client smb3 encryption algorithms={cipher}")
    client.do("put sent", "get sent received", local=tmp_path).check()
    assert (tmp_path / "received").read_bytes() == (place / "sent").read_bytes() == content(200_000)


@pytest.mark.parametrize("algorithm", ["HMAC-SHA256", "AES-128-CMAC", "AES-128-GMAC"])
def test_each_signing_algorithm(client, place, tmp_path, algorithm):
    (tmp_path / "sent").write_bytes(content(200_000))
    client = client.protected("sign").with_arguments(f"--option=client smb3 signing algorithms={algorithm}")
    client.do("put sent", "get sent received", local=tmp_path).check()
    assert (tmp_path / "received").read_bytes() == (place / "sent").read_bytes() == content(200_000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("protection", ["sign", "encrypt"])
def test_files_of_every_size_arrive_whole(client, place, tmp_path, size, protection):
    (tmp_path / "sent").write_bytes(content(size))
    client.protected(protection).do("put sent stored", "get stored received", local=tmp_path).check()
    digest = hashlib.sha256(content(size)).digest()
    assert hashlib.sha256((place / "stored").read_bytes()).digest() == digest
    assert hashlib.sha256((tmp_path / "received").read_bytes()).digest() == digest


def test_put_over_a_longer_file_leaves_nothing_of_it(client, place, tmp_path):
    (tmp_path / "long").write_bytes(content(100_000))
    (tmp_path / "short").write_bytes(b"short")
    client.do("put long name", "put short name", local=tmp_path).check()
    assert (place / "name").read_bytes() == b"short"


def test_mput_and_mget_take_whole_trees(client, place, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    files = make_tree(source)
    client.do("recurse", "prompt", "mput *", local=source).check()
    assert read_tree(place) == files
    client.do("recurse", "prompt", "mget *", local=target).check()
    assert read_tree(target) == files


def test_del_removes_what_the_wildcard_names_and_nothing_else(client, place):
    for name in ("a.txt", "b.txt", "c.doc"):
        (place / name).write_bytes(b"x")
    give_to(place, client.server.user)
    client.do("del *.txt").check()
    assert os.listdir(place) == ["c.doc"]


def test_deltree_removes_everything_below(client, place):
    (place / "tree").mkdir()
    make_tree(place / "tree")
    give_to(place, client.server.user)
    client.do("deltree tree").check()
    assert os.listdir(place) == []


def test_mkdir_and_rmdir(client, place):
    client.do("mkdir made", "mkdir kept").check()
    assert sorted(os.listdir(place)) == ["kept", "made"]
    client.do("rmdir made").check()
    assert os.listdir(place) == ["kept"]


def test_rmdir_of_a_full_directory_is_refused(client, place):
    client.do("mkdir full", "mkdir full/child").check()
    assert "NT_STATUS_DIRECTORY_NOT_EMPTY" in client.do("rmdir full").output
    assert (place / "full/child").is_dir()


def test_rename_onto_an_existing_name_is_refused(client, place):
    (place / "one").write_bytes(b"1")
    (place / "two").write_bytes(b"2")
    give_to(place, client.server.user)
    assert "NT_STATUS_OBJECT_NAME_COLLISION" in client.do("rename one two").output
    assert (place / "two").read_bytes() == b"2"


def test_rename_moves_between_directories(client, place):
    client.do("mkdir from", "mkdir to", "mkdir from/child", r"rename from\child to\moved").check()
    assert (place / "to/moved").is_dir()
    assert os.listdir(place / "from") == []


def test_names_match_whatever_their_case(client, place, tmp_path):
    (place / "MixedCase.TXT").write_bytes(b"found")
    give_to(place, client.server.user)
    client.do("get mixedcase.txt got", local=tmp_path).check()
    assert (tmp_path / "got").read_bytes() == b"found"


@pytest.mark.parametrize("name", ["Grüße", "файл", "日本語", "🎈 balloon", "a b  c", "dots...dots", "~$x{}[]=+,'"])
def test_names_of_all_writing_survive(client, place, tmp_path, name):
    (tmp_path / "sent").write_bytes(name.encode())
    output = client.do(f'put sent "{name}"', "ls", f'get "{name}" received', local=tmp_path).check()
    assert name in output
    assert os.listdir(place) == [name]
    assert (tmp_path / "received").read_text() == name


def test_ls_of_many_entries_lists_each_once(client, place):
    names = {f"entry-{number:04}" for number in range(1500)}
    for name in names:
        (place / name).touch()
    give_to(place, client.server.user)
    output = client.do("ls").check()
    lines = [line for line in output.splitlines() if "entry-" in line]
    assert len(lines) == len(names)
    assert {line.split()[0] for line in lines} == names


def test_allinfo_tells_the_size_and_the_times(client, place):
    (place / "file").write_bytes(bytes(12345))
    os.utime(place / "file", (1_000_000_000, 1_000_000_000))
    give_to(place, client.server.user)
    output = client.do("allinfo file").check()
    for word in ("create_time:", "access_time:", "write_time:", "change_time:", "attributes:"):
        assert word in output
    assert "2001" in next(line for line in output.splitlines() if line.startswith("write_time:"))
    assert "12345" in client.do("ls file").check()


def test_attributes_set_are_attributes_read(client, place):
    (place / "file").touch()
    give_to(place, client.server.user)
    client.do("setmode file +hr").check()
    output = client.do("allinfo file").check()
    attributes = next(line for line in output.splitlines() if line.startswith("attributes:"))
    assert {"H", "R"} <= set(attributes.split("(")[0].split(":")[1].strip())


def test_disk_usage_is_told(client):
    assert "blocks available" in client.do("ls").check()


def test_shares_are_listed(client):
    lines = client.list_shares().output.splitlines()
    shares = {line.split("|")[1]: line.split("|")[0] for line in lines if line.count("|") >= 2}
    assert {"share", "readonly", "encrypted"} <= {name for name, kind in shares.items() if kind == "Disk"}
    assert shares.get("IPC$") == "IPC"


def test_tar_takes_a_tree_and_gives_it_back(client, place, tmp_path):
    (place / "tree").mkdir()
    files = make_tree(place / "tree")
    give_to(place, client.server.user)
    archive = tmp_path / "archive.tar"
    assert client.tar("c", archive, "tree").status == 0
    with tarfile.open(archive) as tar:
        names = [member.name for member in tar.getmembers() if member.isfile()]
    assert sorted(name.removeprefix("./").removeprefix(f"{place.name}/") for name in names) == sorted(
        f"tree/{name}" for name in files
    )
    client.do("deltree tree").check()
    assert replace(client, directory="").tar("x", archive).status == 0
    restored = [path for path in client.server.folder().rglob("three") if path.parent.name == "two"]
    assert any(read_tree(path.parents[2]) == files for path in restored)


def test_a_wrong_password_is_refused(server):
    user = User(server.user.name, "wrong")
    assert "NT_STATUS_LOGON_FAILURE" in SmbClient(server, user=user).do("ls").output


def test_an_unknown_user_is_refused(server):
    user = User("nobody-of-this-name", "x")
    assert "NT_STATUS_LOGON_FAILURE" in SmbClient(server, user=user).do("ls").output


def test_nobody_may_come_in_without_a_name(server):
    assert "NT_STATUS_" in SmbClient(server).with_arguments("-N", "-U%").do("ls").output


def test_a_share_that_is_not_there_is_refused(server):
    assert "NT_STATUS_BAD_NETWORK_NAME" in SmbClient(server, share="missing").do("ls").output


def test_a_read_only_share_is_read_and_not_written(server, place, tmp_path):
    (place / "file").write_bytes(b"content")
    give_to(place, server.user)
    (tmp_path / "sent").write_bytes(b"x")
    client = SmbClient(server, share="readonly", directory=place.name)
    client.do("get file got", local=tmp_path).check()
    assert (tmp_path / "got").read_bytes() == b"content"
    for command in ("put sent", "mkdir made", "del file", "rename file other"):
        assert "NT_STATUS_" in client.do(command, local=tmp_path).output, command
    assert os.listdir(place) == ["file"]


@pytest.mark.parametrize("dialect", ["SMB3_00", "SMB3_02", "SMB3_11"])
def test_an_encrypted_share_serves_clients_that_can_encrypt(server, tmp_path, dialect):
    (tmp_path / dialect).write_bytes(content(100_000))
    client = SmbClient(server, share="encrypted").speaking(dialect)
    client.do(f"put {dialect}", f"get {dialect} back", local=tmp_path).check()
    assert (tmp_path / "back").read_bytes() == content(100_000)


@pytest.mark.parametrize("dialect", ["SMB2_02", "SMB2_10"])
def test_an_encrypted_share_refuses_clients_that_cannot_encrypt(server, dialect):
    assert "NT_STATUS_ACCESS_DENIED" in SmbClient(server, share="encrypted").speaking(dialect).do("ls").output
