"""`lamina handles` and what `lamina status` tells of open files, against a server in a process of its own."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.core.handles import as_line
from lamina.core.wire.create_contexts import REQUEST_LEASE, LeaseContext, encode_lease
from tests.support.durable import asked_v2, refused
from tests.support.served import GENERIC_ALL
from tests.support.wire_client import WireClient

Start = Callable[..., Any]
USER, PASSWORD = "alice", "a-good-password"
LISTED = {
    "id": 4711,
    "share": "data",
    "path": "folder\\a.txt",
    "user": "alice",
    "client": "192.0.2.7",
    "access": 0x1F01FF,
    "durability": "none",
    "caching": "",
    "locks": 0,
    "age": 61.5,
    "left": None,
}


@pytest.fixture
def config(tmp_path: Path, lamina: Start) -> Path:
    (tmp_path / "data").mkdir()
    accounts = ("--accounts", tmp_path / "accounts.db", "--uid", os.geteuid(), "--gid", os.getegid())
    done = lamina("user", "add", USER, "--password-stdin", *accounts, stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "lamina.toml"
    server = '[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\n'
    file.write_text(server + '[share.data]\npath = "data"\n[share.other]\npath = "data"\n')
    return file


@pytest.fixture
def connect(start: Start, config: Path) -> Iterator[Callable[[], WireClient]]:
    port = int(start("run", "-c", config, "--json").event("listening")["listeners"][0]["port"])
    clients: list[WireClient] = []

    def one() -> WireClient:
        client = WireClient("127.0.0.1", port)
        client.negotiate()
        client.session_setup(USER, PASSWORD)
        client.tree_connect("data")
        clients.append(client)
        return client

    yield one
    for client in clients:
        client.disconnect()


def opened(client: WireClient) -> Any:
    """A file under a lease, durable, with a lock."""
    contexts = asked_v2() | {REQUEST_LEASE: encode_lease(LeaseContext(b"the lease key, 1", 7, version=2))}
    file = client.create("file", access=GENERIC_ALL, disposition=3, oplock_level=0xFF, contexts=contexts)
    client.lock(file, [(0, 5, 0x12)])
    return file


def listed(lamina: Start, *arguments: object) -> list[dict[str, Any]]:
    done = lamina("handles", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_open_files_are_listed(lamina: Start, config: Path, connect: Callable[[], WireClient]) -> None:
    client = connect()
    file = opened(client)
    (told,) = listed(lamina, "-c", config)
    assert told["age"] >= 0
    assert told | {"age": 0} == {
        "id": file.persistent,
        "share": "data",
        "path": "file",
        "user": USER,
        "client": "127.0.0.1",
        "access": 0x1F01FF,
        "durability": "durable",
        "caching": "lease RWH",
        "locks": 1,
        "age": 0,
        "left": None,
    }
    assert listed(lamina, "-c", config, "--share", "other") == []
    assert listed(lamina, "-c", config, "--share", "DATA") == [told | {"age": pytest.approx(told["age"], abs=60)}]


def test_also_those_that_wait_for_their_clients(lamina: Start, config: Path, connect: Callable[[], WireClient]) -> None:
    client = connect()
    opened(client)
    client.logoff()
    (told,) = listed(lamina, "-c", config)
    assert 0 < told["left"] <= 60
    assert (told["user"], told["client"], told["durability"], told["locks"]) == (USER, "127.0.0.1", "durable", 1)
    status = lamina("status", "-c", config, "--handles")
    assert status.returncode == 0, status.stderr
    assert "1 open file without a client" in status.stdout
    assert "its client is gone, kept for" in status.stdout
    whole = json.loads(lamina("status", "-c", config, "--handles", "--json").stdout)
    assert [one["id"] for one in whole["handles"]] == [told["id"]]


@pytest.mark.parametrize("there", [True, False])
def test_an_administrator_closes_one(
    lamina: Start, config: Path, connect: Callable[[], WireClient], there: bool
) -> None:
    client = connect()
    file = opened(client)
    if not there:
        client.logoff()
    done = lamina("handles", "close", file.persistent, "-c", config)
    assert (done.returncode, done.stdout) == (0, f"closed {file.persistent}\n")
    assert listed(lamina, "-c", config) == []
    if there:
        assert refused(lambda: client.close(file)).name == "FILE_CLOSED"
    again = lamina("handles", "close", file.persistent, "-c", config)
    assert (again.returncode, again.stderr) == (1, f"lamina: not open: {file.persistent}\n")


def test_without_a_server_it_says_so(lamina: Start, config: Path) -> None:
    done = lamina("handles", "list", "-c", config)
    assert (done.returncode, done.stderr) == (1, f"lamina: no server runs with {config}\n")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "open for 1 min 1 s"),
        (
            {"durability": "durable", "caching": "batch", "locks": 1, "left": 59.2, "age": 7300},
            "open for 2 h 1 min, durable, batch, 1 lock, its client is gone, kept for 59 s more",
        ),
    ],
)
def test_a_line_says_what_there_is_to_say(fields: dict[str, Any], text: str) -> None:
    assert as_line(LISTED | fields) == f"4711         alice@192.0.2.7  data\\folder\\a.txt, {text}"
