"""`lamina run`, `check` and `reload`."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.configured import Client, prepare

Start = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path, lamina: Start) -> Path:
    file = prepare(tmp_path, lamina)
    write(file, one="one")
    return file


def write(file: Path, extra: str = "", listen: str = '"127.0.0.1:0"', **shares: str) -> None:
    tables = [f'[share.{name}]\npath = "{path}"\n' for name, path in shares.items()]
    file.write_text("\n".join([f'[server]\nlisten = [{listen}]\naccounts = "accounts.db"\n' + extra, *tables]))


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def port_of(server: Any) -> int:
    return int(server.event("listening")["listeners"][0]["port"])


def test_reload_changes_shares_and_drops_no_connection(start: Start, lamina: Start, config: Path) -> None:
    server = start("run", "-c", config, "--json")
    client = Client(port_of(server))
    assert client.listing("one") == ["one.txt"]
    write(config, one="two", two="two")
    done = lamina("reload", "-c", config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "reloaded: share two added; share one changed\n", "")
    assert client.listing("one") == ["one.txt"], "who is connected keeps the share as it was"
    assert client.listing("two") == ["two.txt"]
    newcomer = Client(client.arguments["port"])  # type: ignore[arg-type]
    assert newcomer.listing("one") == ["two.txt"]
    newcomer.close()
    client.close()
    assert server.event("reloaded")["errors"] == []


def test_a_share_that_is_removed_is_gone_for_newcomers(start: Start, config: Path) -> None:
    write(config, one="one", two="two")
    server = start("run", "-c", config, "--json")
    port = port_of(server)
    write(config, one="one")
    server.send(signal.SIGHUP)
    assert server.event("reloaded")["changes"] == ["share two removed"]
    client = Client(port)
    with pytest.raises(Exception, match="0xc00000cc"):
        client.listing("two")
    assert client.listing("one") == ["one.txt"]
    client.close()


def test_listeners_come_and_go_and_a_reload_that_fails_gives_back_what_it_bound(
    start: Start, lamina: Start, config: Path, unused_port: int
) -> None:
    server = start("run", "-c", config, "--json")
    client = Client(port_of(server))
    assert client.listing("one") == ["one.txt"]
    fixed = f"127.0.0.1:{unused_port}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        write(config, listen=f'"127.0.0.1:0", "{fixed}", "{taken}"', one="one")
        done = lamina("reload", "-c", config)
        assert done.returncode == 1
        assert "in use" in done.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_port))
    write(config, listen=f'"{fixed}"', one="one")
    done = lamina("reload", "-c", config)
    assert done.stdout == f"reloaded: listening on {fixed} too; no longer listening on 127.0.0.1:0\n"
    assert client.listing("one") == ["one.txt"], "a connection outlives the listener it came in through"
    newcomer = Client(unused_port)
    assert newcomer.listing("one") == ["one.txt"]
    newcomer.close()
    client.close()


def test_a_wrong_file_changes_nothing_and_reload_says_why(start: Start, lamina: Start, config: Path) -> None:
    server = start("run", "-c", config, "--json")
    client = Client(port_of(server))
    write(config, extra="nonsense = 1\n", two="two")
    done = lamina("reload", "-c", config)
    assert done.returncode == 1
    assert f"nothing has changed:\n{config}:4: server.nonsense: unknown key" in done.stderr
    assert server.event("reloaded")["errors"] == [f"{config}:4: server.nonsense: unknown key"]
    assert client.listing("one") == ["one.txt"]
    client.close()


def test_what_a_killed_server_leaves_stops_no_start(start: Start, config: Path, tmp_path: Path) -> None:
    first = start("run", "-c", config, "--json")
    first.event("listening")
    first.send(signal.SIGKILL)
    first.process.wait()
    assert len(os.listdir(tmp_path / "run")) == 2
    second = start("run", "-c", config, "--json")
    client = Client(port_of(second))
    assert client.listing("one") == ["one.txt"]
    client.close()
    assert second.end() == 0
    assert os.listdir(tmp_path / "run") == []


def test_one_server_at_a_time_runs_with_a_file(start: Start, lamina: Start, config: Path) -> None:
    server = start("run", "-c", config, "--json")
    pid = server.event("listening")["pid"]
    done = lamina("run", "-c", config)
    assert (done.returncode, done.stderr) == (1, f"lamina: a server runs with {config} already (pid {pid})\n")


def test_a_folder_too_long_for_a_socket_is_told_in_a_line(
    lamina: Start, config: Path, environment: dict[str, str]
) -> None:
    environment["LAMINA_RUNTIME_DIR"] += "x" * 120
    done = lamina("run", "-c", config)
    assert done.returncode == 1
    assert done.stderr.endswith("cannot be made: AF_UNIX path too long\n")


def test_reload_without_a_server_says_so(lamina: Start, config: Path) -> None:
    done = lamina("reload", "-c", config)
    assert (done.returncode, done.stderr) == (1, f"lamina: no server runs with {config}\n")


def test_run_refuses_a_wrong_file_before_anything_is_started(lamina: Start, config: Path, tmp_path: Path) -> None:
    write(config, one="one", two="none")
    done = lamina("run", "-c", config)
    assert done.returncode == 1
    assert f"{config}:9: share.two.path: there is no folder {tmp_path}/none" in done.stderr
    assert not (tmp_path / "run").exists()


def test_check_prints_the_chain_of_each_share(lamina: Start, config: Path) -> None:
    done = lamina("check", config)
    assert done.returncode == 0
    assert "share one: streams_xattr → dos_attributes → posix\n" in done.stdout
    assert f"{config}: no errors\n" in done.stdout


def test_check_tells_all_errors_and_fails(lamina: Start, config: Path) -> None:
    write(config, extra="nmae = 1\n", one="none")
    done = lamina("check", config)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"{config}:4: server.nmae: unknown key; did you mean 'name'?"
    assert done.stderr.splitlines()[-1] == f"lamina: 2 errors in {config}"
