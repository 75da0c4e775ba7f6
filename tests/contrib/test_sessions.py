"""smbclient sessions on each store: what people do with a share every day, and what comes of it there."""

import random
from pathlib import Path

import pytest

from tests.contrib.stores import Store
from tests.support.processes import ServerProcess
from tests.support.smbclient import SmbClient, installed

pytestmark = pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient")

SIZES = (0, 1, 65537, 9 * 1024 * 1024 + 3)
LONG = "n" * 250 + ".text"
UNICODE = "Ünïcødé – 文件 🦊.txt"


@pytest.fixture
def client(server: ServerProcess, place: str) -> SmbClient:
    return SmbClient(server, directory=place)


@pytest.fixture
def there(top: str, place: str) -> str:
    """The path of the test's folder on the store."""
    return f"{top}/{place}"


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_put_and_got(store: Store, client: SmbClient, there: str, tmp_path: Path, size: int) -> None:
    (tmp_path / "sent").write_bytes(content(size))
    output = client.do("put sent file", "ls", "get file received", "allinfo file", local=tmp_path).check()
    assert (tmp_path / "received").read_bytes() == content(size)
    assert f"stream: [::$DATA], {size} bytes" in output
    assert store.view.read(f"{there}/file") == content(size)


def test_an_encrypted_session_of_the_newest_dialect(client: SmbClient, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(content(300_000))
    client = client.speaking("SMB3_11").protected("encrypt")
    client.do("put sent", "get sent received", local=tmp_path).check()
    assert (tmp_path / "received").read_bytes() == content(300_000)


@pytest.mark.parametrize("name", [LONG, UNICODE, "two words", "dots.in.the.name"])
def test_names_are_what_they_were(store: Store, client: SmbClient, there: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "sent").write_bytes(b"content")
    output = client.do(f'put sent "{name}"', "ls", f'get "{name}" received', local=tmp_path).check()
    assert name in output
    assert (tmp_path / "received").read_bytes() == b"content"
    assert store.view.names(there) == [name]


def test_a_name_in_another_case_is_the_same(store: Store, client: SmbClient, there: str, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"content")
    client.do("mkdir Folder", "put sent folder\\File.TXT", "get FOLDER\\file.txt received", local=tmp_path).check()
    assert (tmp_path / "received").read_bytes() == b"content"
    assert store.view.names(f"{there}/Folder") == ["File.TXT"]


def test_folders_are_made_renamed_and_removed(store: Store, client: SmbClient, there: str, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"content")
    client.do("mkdir one", "mkdir one\\two", "put sent one\\two\\file", local=tmp_path).check()
    assert "NT_STATUS_DIRECTORY_NOT_EMPTY" in client.do("rmdir one\\two").output
    client.do("rename one\\two moved", "rename moved\\file moved\\renamed").check()
    assert (store.view.names(there), store.view.names(f"{there}/moved")) == (["moved", "one"], ["renamed"])
    client.do("del moved\\renamed", "rmdir moved", "rmdir one").check()
    assert store.view.names(there) == []


def test_a_file_takes_the_place_of_another(store: Store, client: SmbClient, there: str, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_bytes(name.encode())
    client.do("put old", "put new", local=tmp_path).check()
    assert "NT_STATUS_OBJECT_NAME_COLLISION" in client.do("rename new old").output
    client.do("rename new old -f").check()
    assert (store.view.names(there), store.view.read(f"{there}/old")) == (["old"], b"new")


def test_what_is_put_again_is_cut_to_its_new_size(store: Store, client: SmbClient, there: str, tmp_path: Path) -> None:
    for name in ("long", "short"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    client.do("put long file", "put short file", local=tmp_path).check()
    assert store.view.read(f"{there}/file") == b"short" * 1000


def test_a_folder_of_many_files_is_listed_whole(client: SmbClient, tmp_path: Path) -> None:
    names = {f"file-{number:03}" for number in range(120)}
    for name in names:
        (tmp_path / name).write_bytes(b"")
    client.do("prompt off", "mput file-*", local=tmp_path).check()
    output = client.do("ls file-*").check()
    assert {word for word in output.split() if word.startswith("file-")} == names


def test_what_others_put_on_the_store_is_seen(store: Store, client: SmbClient, there: str, tmp_path: Path) -> None:
    store.view.write(f"{there}/theirs", b"from beside")
    client.do("get theirs", local=tmp_path).check()
    assert (tmp_path / "theirs").read_bytes() == b"from beside"


def test_space_is_told(client: SmbClient) -> None:
    line = next(line for line in client.do("ls").check().splitlines() if "blocks of size" in line)
    total, free = int(line.split()[0]), int(line.rsplit(".", 1)[1].split()[0])
    assert 0 < free <= total
