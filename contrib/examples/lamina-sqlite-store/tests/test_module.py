"""What the backend does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import smbclient
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token

from lamina_sqlite_store import (
    SqliteStoreBackend,
    SqliteStoreBackendOptions,
)
from lamina_sqlite_store.store import CHUNK

CREATE = OpenHow(Access.READ_WRITE, create=True)
TOKEN = make_token()


def over(folder: Path, size: int = 1 << 30) -> Chain:
    """A share over the database in a folder."""
    options = SqliteStoreBackendOptions(database=f"{folder}/files.db", size=size)
    return local_chain("/nowhere", SqliteStoreBackend(options))


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A share with room for two chunks."""
    chain = over(tmp_path, 2 * CHUNK)
    yield chain
    chain.disconnect()


def test_what_has_no_room_is_refused_and_what_is_removed_makes_room(chain: Chain) -> None:
    root = chain.open_root(TOKEN)
    first = chain.open(TOKEN, root, "first", CREATE)
    assert chain.pwrite(TOKEN, first, memoryview(bytes(CHUNK + 1)), 0) == CHUNK + 1
    second = chain.open(TOKEN, root, "second", CREATE)
    with pytest.raises(OSError, match="No space left"):
        chain.pwrite(TOKEN, second, memoryview(bytes(CHUNK)), 0)
    chain.close(TOKEN, first)
    chain.unlink(TOKEN, root, "first")
    assert chain.statfs(TOKEN, root).available == 2 * CHUNK
    assert chain.pwrite(TOKEN, second, memoryview(bytes(CHUNK)), 0) == CHUNK


def test_writing_in_place_takes_no_more_room(chain: Chain) -> None:
    root = chain.open_root(TOKEN)
    file = chain.open(TOKEN, root, "file", CREATE)
    for _ in range(10):
        assert chain.pwrite(TOKEN, file, memoryview(bytes(CHUNK)), 0) == CHUNK


def test_the_share_is_there_again_after_a_restart(tmp_path: Path) -> None:
    chain = over(tmp_path)
    root = chain.open_root(TOKEN)
    chain.mkdir(TOKEN, root, "folder", 0o755)
    file = chain.open(TOKEN, root, "folder/file", CREATE)
    chain.pwrite(TOKEN, file, memoryview(b"over the chunk's end"), CHUNK - 5)
    chain.disconnect()

    chain = over(tmp_path)
    root = chain.open_root(TOKEN)
    file = chain.open(TOKEN, root, "folder/file", OpenHow(Access.READ))
    buffer = memoryview(bytearray(30))
    assert chain.pread(TOKEN, file, buffer, CHUNK - 10) == 25
    assert bytes(buffer[:25]) == bytes(5) + b"over the chunk's end"
    chain.disconnect()


def test_a_file_that_was_removed_while_it_was_open_is_gone_after_a_restart(tmp_path: Path) -> None:
    chain = over(tmp_path)
    root = chain.open_root(TOKEN)
    file = chain.open(TOKEN, root, "file", CREATE)
    chain.pwrite(TOKEN, file, memoryview(bytes(1000)), 0)
    chain.unlink(TOKEN, root, "file")
    chain.disconnect()

    chain = over(tmp_path)
    root = chain.open_root(TOKEN)
    statistics = chain.statfs(TOKEN, root)
    assert statistics.available == statistics.total
    chain.disconnect()


def test_a_client_works_in_it(lamina_server_factory: Callable[..., Server], tmp_path: Path) -> None:
    backend = SqliteStoreBackend(SqliteStoreBackendOptions(database=str(tmp_path / "files.db")))
    server = lamina_server_factory({"data": tmp_path}, chain=[backend])
    user = {"username": server.username, "password": server.password, "port": server.port}
    share = r"\\127.0.0.1\data"
    smbclient.mkdir(rf"{share}\folder", **user)
    with smbclient.open_file(rf"{share}\folder\a.txt", mode="w", **user) as file:
        file.write("hello" * 100_000)
    smbclient.rename(rf"{share}\folder\a.txt", rf"{share}\b.txt", **user)
    with smbclient.open_file(rf"{share}\b.txt", **user) as file:
        assert file.read() == "hello" * 100_000
    assert sorted(smbclient.listdir(share, **user)) == ["b.txt", "folder"]
    smbclient.remove(rf"{share}\b.txt", **user)
    smbclient.reset_connection_cache()


def test_shares_find_the_backend_by_its_name() -> None:
    assert load_module("sqlite_store") is SqliteStoreBackend
