"""`lamina run` with several workers: one server to whoever administers it."""

import json
import os
import signal
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


def write(file: Path, chain: str = "", **shares: str) -> None:
    server = '[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\nstate = "state"\nworkers = 2\n'
    tables = [f'[share.{name}]\npath = "{path}"\n{chain}' for name, path in shares.items()]
    file.write_text("\n".join([server, *tables]))


def test_one_server_in_all_that_is_asked_and_told(start: Start, lamina: Start, config: Path) -> None:
    server = start("run", "-c", config, "--json")
    listening = server.event("listening")
    port = int(listening["listeners"][0]["port"])
    assert len(set(listening["workers"]) - {listening["pid"]}) == 2
    clients = [Client(port) for _ in range(2)]
    files = [client.open(r"one\one.txt") for client in clients]
    status = json.loads(lamina("status", "-c", config, "--json").stdout)
    assert (status["connections"], status["sessions"], status["shares"][0]["opens"]) == (2, 2, 2)
    assert len(status["workers"]) == 2
    shown = lamina("status", "-c", config).stdout
    assert "worker 1" in shown
    assert "worker 2" in shown
    listed = lamina("handles", "list", "-c", config).stdout
    assert listed.count("one.txt") == 2
    for file in files:
        file.close()
    write(config, one="one", two="two")
    assert "share two added" in lamina("reload", "-c", config).stdout
    assert {tuple(client.listing("two")) for client in clients} == {("two.txt",)}
    for client in clients:
        client.close()
    server.send(signal.SIGTERM)
    assert server.event("stopped")["connections"] == 2
    assert server.end() == 0


def test_a_worker_that_dies_is_told_of_and_replaced(start: Start, lamina: Start, config: Path) -> None:
    server = start("run", "-c", config, "--json")
    listening = server.event("listening")
    os.kill(listening["workers"][0], signal.SIGKILL)
    assert server.event("worker_ended") | {"time": 0} == {"event": "worker_ended", "time": 0, "worker": 1, "status": -9}
    for _ in range(2):
        client = Client(int(listening["listeners"][0]["port"]))
        assert client.listing("one") == ["one.txt"]
        client.close()


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        ('["memory"]', "module 'memory' has its files in the memory of one process"),
        ('["count", "posix"]', "module 'count' counts what one process does"),
        ('["faults", "posix"]', "module 'faults' lets faults happen after so many calls"),
        ('["record", "posix"]', "module 'record' records in which order things are done"),
    ],
)
def test_a_module_that_only_one_process_may_have_is_refused(lamina: Start, config: Path, chain: str, why: str) -> None:
    write(config, f"chain = {chain}\n", one="one")
    done = lamina("check", config)
    assert done.returncode == 1
    assert why in done.stderr
    assert "set workers = 1 in [server]" in done.stderr


def test_all_others_may_be_in_the_chain_of_a_share(lamina: Start, config: Path) -> None:
    modules = ["catia", "audit", "readonly", "worm", "recycle", "virus_scan", "rate_limit", "fruit", "shadow_copy"]
    modules += ["short_names", "streams_depot", "acl_xattr", "dos_attributes", "quota", "delay", "transparent", "posix"]
    options = "[share.one.posix]\nkernel_oplocks = true\n"
    write(config, f"chain = {json.dumps(modules)}\n{options}", one="one")
    done = lamina("check", config)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_that_cannot_start_stops_the_start(start: Start, config: Path, tmp_path: Path) -> None:
    (tmp_path / "accounts.db").write_text("not a database")
    server = start("run", "-c", config, "--json")
    assert server.process.wait(60) == 1
