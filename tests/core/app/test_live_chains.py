"""Modules are added, removed and reordered while clients are connected and have files open."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import smbclient

import lamina
from lamina.core.plan import ShareSpec
from lamina.core.runtime import StartError
from lamina.vfs_modules.module import VfsModule

BELOW = ("streams_xattr", "dos_attributes", "posix")
disconnected: list[str] = []


class Marking(VfsModule):
    """Puts its letter at the beginning of what is read."""

    def disconnect(self) -> None:
        disconnected.append(self.name)

    def pread(self, token: Any, handle: Any, buffer: memoryview, offset: int) -> int:
        count = self.next.pread(token, handle, buffer, offset)
        if count and offset == 0:
            buffer[:count] = self.name.encode() + bytes(buffer[: count - 1])
        return count


class A(Marking):
    name = "a"


class B(Marking):
    name = "b"


class Client:
    def __init__(self, server: lamina.Server) -> None:
        self._arguments = {"username": server.username, "password": server.password, "port": server.port}
        self._cache: dict[str, Any] = {}

    def open(self, mode: str = "rb") -> Any:
        path = r"\\127.0.0.1\data\file"
        return smbclient.open_file(
            path, mode=mode, buffering=0, share_access="rwd", connection_cache=self._cache, **self._arguments
        )

    def read(self) -> bytes:
        with self.open() as file:
            return bytes(file.read(10))

    def close(self) -> None:
        smbclient.reset_connection_cache(connection_cache=self._cache)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[lamina.Server]:
    disconnected.clear()
    (tmp_path / "file").write_bytes(b"0123456789")
    with lamina.Server({"data": ShareSpec(tmp_path, chain=(A, *BELOW))}) as server:
        yield server


@pytest.fixture
def client(server: lamina.Server) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


def again(file: Any) -> bytes:
    file.seek(0)
    return bytes(file.read(10))


def test_new_opens_use_the_new_chain_and_open_files_keep_theirs(server, client, tmp_path):
    old = client.open()
    assert again(old) == b"a012345678"
    server.set_shares({"data": ShareSpec(tmp_path, chain=(B, A, *BELOW))})
    assert client.read() == b"ba01234567", "a module was added for who is connected"
    server.set_shares({"data": ShareSpec(tmp_path, chain=(A, B, *BELOW))})
    assert client.read() == b"ab01234567", "the modules changed places"
    server.set_shares({"data": ShareSpec(tmp_path, chain=BELOW)})
    assert client.read() == b"0123456789", "the modules were removed"
    assert again(old) == b"a012345678", "what is open goes through the chain it was opened with"
    newcomer = Client(server)
    assert newcomer.read() == b"0123456789"
    newcomer.close()
    old.close()


def test_a_chain_that_was_replaced_ends_when_nothing_is_open_in_it(server, client, tmp_path):
    old = client.open()
    server.set_shares({"data": ShareSpec(tmp_path, chain=(B, *BELOW))})
    assert disconnected == []
    assert client.read() == b"b012345678"
    old.close()
    server.set_shares({"data": ShareSpec(tmp_path, chain=(B, *BELOW))})
    assert disconnected == ["a"]
    assert client.read() == b"b012345678"


def test_the_two_chains_know_of_each_others_opens(server, client, tmp_path):
    path = r"\\127.0.0.1\data\file"
    with smbclient.open_file(path, mode="rb", share_access="r", connection_cache=client._cache, **client._arguments):
        server.set_shares({"data": ShareSpec(tmp_path, chain=BELOW)})
        with pytest.raises(OSError, match="0xc0000043"):
            client.open("r+b")


def test_a_wrong_order_changes_nothing(server, client, tmp_path):
    assert client.read() == b"a012345678"
    with pytest.raises(StartError, match=r"'fruit' must stand above .*the right order is \[\"fruit\", "):
        server.set_shares({"data": ShareSpec(tmp_path, chain=("streams_xattr", "fruit", "dos_attributes", "posix"))})
    assert client.read() == b"a012345678"
