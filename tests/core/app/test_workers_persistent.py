"""Persistent opens of `lamina run` with several workers, as an administrator sees them, and over a change of shares."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.core.plan import DEFAULT_CHAIN
from lamina.core.wire.durable_contexts import DHANDLE_FLAG_PERSISTENT as PERSISTENT
from tests.core.app.crash_workers import GUIDS
from tests.support.configured import PASSWORD, USER, prepare
from tests.support.durable import asked_v2, back_v2, leased
from tests.support.granted import RWH
from tests.support.served import new_file
from tests.support.wire_client import Open, WireClient

Start = Callable[..., Any]
CHAIN = json.dumps(["persistent_store", "durable", *map(str, DEFAULT_CHAIN)])
LEASE = 0xFF


@pytest.fixture
def config(tmp_path: Path, lamina: Start) -> Path:
    file = prepare(tmp_path, lamina)
    write(file, "one", "two")
    return file


def write(file: Path, *shares: str) -> None:
    server = '[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\nstate = "state"\nworkers = 2\n'
    tables = [f'[share.{name}]\npath = "{name}"\n' for name in shares]
    file.write_text("\n".join([server, *tables]).replace('path = "one"', f'path = "one"\nchain = {CHAIN}'))


def connect(port: int, guid: bytes, share: str = "one") -> WireClient:
    client = WireClient("127.0.0.1", port, 30.0, guid)
    client.negotiate()
    client.session_setup(USER, PASSWORD)
    client.tree_connect(share)
    return client


def opened(client: WireClient, name: str) -> Open:
    contexts = leased(RWH) | asked_v2(flags=PERSISTENT)
    return new_file(client, name, oplock_level=LEASE, contexts=contexts)


def again(port: int, guid: bytes, name: str, file: Open) -> WireClient:
    client = connect(port, guid)
    regained = new_file(client, name, oplock_level=LEASE, contexts=leased(RWH) | back_v2(file, flags=PERSISTENT))
    assert regained.file_id == file.file_id
    return client


def listed(lamina: Start, config: Path) -> list[dict[str, Any]]:
    done = lamina("handles", "list", "--json", "-c", config)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def run(start: Start, config: Path) -> tuple[Any, int, list[int]]:
    server = start("run", "-c", config, "--json")
    listening = server.event("listening")
    return server, int(listening["listeners"][0]["port"]), listening["workers"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_they_are_listed_closed_kept_and_back_when_their_share_is(start: Start, lamina: Start, config: Path) -> None:
    server, port, pids = run(start, config)
    clients = [connect(port, guid) for guid in GUIDS]
    files = [opened(client, f"file {number}") for number, client in enumerate(clients)]
    spare = opened(connect(port, b"a client of a day"), "spare")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        server.event("worker_ended")
    back = [again(port, guid, f"file {number}", files[number]) for number, guid in enumerate(GUIDS)]
    status = json.loads(lamina("status", "-c", config, "--json").stdout)
    assert (status["sessions"], status["waiting"]) == (2, 1)
    (waits,) = (line for line in listed(lamina, config) if line["left"] is not None)
    assert (waits["path"], waits["id"], waits["durability"]) == ("spare", spare.file_id[0], "persistent")
    assert lamina("handles", "close", waits["id"], "-c", config).returncode == 0
    for client in (*clients, *back):
        client.disconnect()
    server.send(signal.SIGTERM)
    assert server.end() == 0

    write(config, "two")
    server, port, _ = run(start, config)
    write(config, "one", "two")
    assert "share one added" in lamina("reload", "-c", config).stdout
    assert {line["path"] for line in listed(lamina, config) if line["left"]} == {"file 0", "file 1"}
    for number, guid in enumerate(GUIDS):
        client = again(port, guid, f"file {number}", files[number])
        client.close(files[number])
        client.disconnect()
    assert listed(lamina, config) == []
