"""`lamina serve` as a person or a program uses it."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import smbclient

Start = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "hello.txt").write_text("hello")
    return path


def listing(share: str, port: int, user: str, password: str) -> list[str]:
    cache: dict[str, Any] = {}
    path = rf"\\127.0.0.1\{share}"
    try:
        return list(smbclient.listdir(path, username=user, password=password, port=port, connection_cache=cache))
    finally:
        smbclient.reset_connection_cache(connection_cache=cache)


def test_the_panel_names_the_share_and_commands_and_ctrl_c_says_what_was_served(start: Start, folder: Path) -> None:
    server = start("serve", folder, "--port", 0, "--address", "127.0.0.1", "--user", "alice:secret")
    lines = []
    while not (line := server.line()).startswith("Ctrl-C"):
        lines.append(line)
    text = "\n".join(lines)
    assert f"data  →  {folder}" in text
    assert "smbclient //127.0.0.1/data -p " in text
    assert "secret" not in text
    server.send(signal.SIGINT)
    assert server.line().endswith("served 0 connections, 0 files opened, 0 bytes in, 0 bytes out")
    assert server.end() == 0


def test_a_made_up_password_works_and_every_event_is_one_json_line(start: Start, folder: Path) -> None:
    server = start("serve", folder, "--port", 0, "--address", "127.0.0.1", "--json")
    who = server.event("credentials")
    port = server.event("listening")["listeners"][0]["port"]
    assert listing("data", port, who["user"], who["password"]) == ["hello.txt"]
    tree = server.event("tree_connected")
    assert (tree["share"], tree["client"], tree["dialect"]) == ("data", "127.0.0.1", "3.1.1")
    closed = server.event("connection_closed")
    assert closed["user"].endswith(who["user"])
    assert closed["bytes_sent"] > 0
    server.send(signal.SIGTERM)
    assert server.event("stopped")["connections"] >= 1
    assert server.end() == 0


def test_a_line_for_people_when_somebody_connects_and_leaves(start: Start, folder: Path) -> None:
    server = start("serve", folder, "--port", 0, "--address", "127.0.0.1", "--user", "alice:secret")
    while "port " not in (line := server.line()):
        pass
    port = int(line.split("port ")[1].split()[0])
    while not server.line().startswith("Ctrl-C"):
        pass
    listing("data", port, "alice", "secret")
    assert "alice from 127.0.0.1 connected to data (SMB 3.1.1, " in server.line()
    assert "alice from 127.0.0.1 left after " in server.line()


def test_several_folders_are_several_shares_and_equal_names_get_a_number(start: Start, folder: Path) -> None:
    other = folder.parent / "elsewhere" / "data"
    other.mkdir(parents=True)
    server = start("serve", folder, other, "--port", 0, "--address", "127.0.0.1", "--json")
    assert server.event("listening")["shares"] == ["data", "data-2"]


def test_every_made_up_password_is_told(start: Start, folder: Path) -> None:
    users = ("--user", "bob", "--user", "carol:secret", "--user", "dave")
    server = start("serve", folder, *users, "--port", 0, "--address", "127.0.0.1", "--json")
    told = [server.event("credentials") for _ in range(3)]
    assert [who["user"] for who in told] == ["bob", "carol", "dave"]
    assert [bool(who["password"]) for who in told] == [True, False, True]
    port = server.event("listening")["listeners"][0]["port"]
    assert listing("data", port, "dave", told[2]["password"]) == ["hello.txt"]


def test_name_is_for_the_first_folder(start: Start, folder: Path) -> None:
    server = start("serve", folder, folder, "--name", "one", "--port", 0, "--address", "127.0.0.1", "--json")
    assert server.event("listening")["shares"] == ["one", "data"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/none"], "lamina: there is no folder {folder}/none\n"),
        (["{folder}/hello.txt"], "lamina: {folder}/hello.txt is not a folder\n"),
        ([], "lamina: name a folder to share: lamina serve FOLDER\n"),
        (["{folder}", "--chain", "dos_atributes,posix"], "did you mean 'dos_attributes'?"),
        (["{folder}", "--chain", "posix,dos_attributes"], "is a backend and must stand last"),
        (["{folder}", "--name", "a/b"], "lamina: 'a/b' cannot be the name of a share\n"),
        (["{folder}", "--user", ":x"], "a user has a name"),
        (["{folder}", "--address", "192.0.2.1"], "lamina: this machine has no address '192.0.2.1'\n"),
    ],
)
def test_mistakes_are_answered_in_words(lamina: Start, folder: Path, arguments: list[str], message: str) -> None:
    done = lamina("serve", *(text.format(folder=folder) for text in arguments), "--port", 0)
    assert done.returncode == 1
    assert message.format(folder=folder) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_an_error_when_it_was_asked_for(lamina: Start, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = lamina("serve", folder, "--address", "127.0.0.1", "--port", port)
    assert (done.returncode, done.stderr) == (1, f"lamina: port {port} is in use by another program\n")


def test_version(lamina: Start) -> None:
    assert lamina("--version").stdout.split()[0] == "0.1.0"
