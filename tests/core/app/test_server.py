"""`lamina.Server`: a real server inside a program."""

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import smbclient

import lamina
from lamina.core.plan import ShareSpec
from lamina.core.runtime import StartError
from lamina.vfs_modules.hooks import listens
from lamina.vfs_modules.module import ShareInfo, VfsModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "hello.txt").write_text("hello")
    return path


class Client:
    """smbprotocol's file functions, with connections of this client's own."""

    def __init__(self, server: lamina.Server) -> None:
        self.cache: dict[str, Any] = {}
        self.server = server

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        smbclient.reset_connection_cache(connection_cache=self.cache)

    def _arguments(self) -> dict[str, Any]:
        server = self.server
        return {
            "username": server.username,
            "password": server.password,
            "port": server.port,
            "connection_cache": self.cache,
        }

    def names(self, share: str) -> list[str]:
        return list(smbclient.listdir(self.server.unc(share), **self._arguments()))

    def write(self, share: str, name: str, text: str) -> None:
        with smbclient.open_file(rf"{self.server.unc(share)}\{name}", mode="w", **self._arguments()) as file:
            file.write(text)


class Listener(VfsModule, public=("share_connected", "share_disconnected")):
    """Keeps what it was announced."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    @listens
    def share_connected(self, share: ShareInfo) -> None:
        self.heard.append(f"connected {share.name}")

    @listens
    def share_disconnected(self, share: ShareInfo) -> None:
        self.heard.append(f"disconnected {share.name}")


def test_a_client_reads_and_writes_through_it(folder: Path) -> None:
    with lamina.Server(shares={"data": folder}) as server, Client(server) as client:
        client.write("data", "new.txt", "written")
        assert sorted(client.names("data")) == ["hello.txt", "new.txt"]
    assert (folder / "new.txt").read_text() == "written"


def test_it_tells_where_and_as_whom(folder: Path) -> None:
    with lamina.Server(shares={"data": folder}, users={"alice": "secret"}) as server:
        assert (server.address, server.username, server.password) == ("127.0.0.1", "alice", "secret")
        assert server.url("data") == f"smb://127.0.0.1:{server.port}/data"
        assert server.unc("data") == r"\\127.0.0.1\data"


def test_made_up_passwords_differ(folder: Path) -> None:
    assert lamina.Server({"data": folder}).password != lamina.Server({"data": folder}).password


def test_several_work_at_once_and_nothing_is_left_of_them(folder: Path) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with lamina.Server({"a": folder}) as first, lamina.Server({"b": folder}) as second:
        assert first.port != second.port
        for server in (first, second):
            socket.create_connection(("127.0.0.1", server.port)).close()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_closing_twice_is_harmless_and_a_closed_server_has_no_port(folder: Path) -> None:
    server = lamina.Server({"data": folder}).start()
    server.close()
    server.close()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


def test_what_stops_the_start_is_raised_in_the_caller_and_leaves_no_thread(folder: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(StartError, match="none"):
        lamina.Server({"data": folder / "none"}).start()
    with pytest.raises(StartError, match="there is no module 'nope'"):
        lamina.Server({"data": folder}, chain=["nope", "posix"]).start()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        lamina.Server({"data": folder}, port=taken.getsockname()[1]).start()
    assert threading.active_count() == threads


def test_a_chain_may_hold_names_classes_and_instances_and_modules_hear_announcements(folder: Path) -> None:
    module = Listener()
    with lamina.Server({"data": folder}, chain=[module, "dos_attributes", PosixBackend]) as server:
        assert module.heard == ["connected data"]
        volume = server.runtime.shares()["data"].volume
        assert volume is not None
        assert volume.whole_chain.modules[0] is module
    assert module.heard == ["connected data", "disconnected data"]


def test_shares_change_while_it_runs_or_not_at_all(folder: Path) -> None:
    with lamina.Server({"data": folder}) as server:
        server.set_shares({"data": folder, "more": ShareSpec(folder, read_only=True)})
        assert set(server.runtime.shares()) == {"data", "more"}
        before = server.runtime.shares()["data"].volume
        with pytest.raises(StartError):
            server.set_shares({"data": folder, "bad": folder / "none"})
        assert set(server.runtime.shares()) == {"data", "more"}
        assert server.runtime.shares()["data"].volume is before


def test_other_shares_get_the_chain_and_the_flags_of_the_server(folder: Path) -> None:
    with lamina.Server({"data": folder}, chain=["posix"], read_only=True) as server:
        server.set_shares({"other": folder})
        share = server.runtime.shares()["other"]
        assert share.read_only
        assert share.volume is not None
        assert [module.name for module in share.volume.whole_chain.modules] == ["posix"]


def test_settings_are_given_by_name(folder: Path) -> None:
    with lamina.Server({"data": folder}, name="TESTER", max_io=65536, encrypt=True) as server:
        settings = server.runtime.server.settings
        assert (settings.name, settings.max_io, settings.encryption) == ("TESTER", 65536, "required")
    with pytest.raises(TypeError, match="nmae"):
        lamina.Server({"data": folder}, nmae="x")  # type: ignore[call-arg]
