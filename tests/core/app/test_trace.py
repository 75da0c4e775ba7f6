"""Tracing a share: in a program, and by `lamina trace` against servers in processes of their own."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import smbclient
import smbclient.path

import lamina
from lamina.core import dispatch
from lamina.core.control import answering, ask
from lamina.core.tracing import MAX_QUEUED_STEPS, SERVER, Filter, Viewer
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.tracing import Root, Step
from tests.core.app.test_live_chains import Client
from tests.support.processes import shared_scratch

Start = Callable[..., Any]
SECONDS = 60


class Slow(VfsModule):
    """Refuses what is called *.exe."""

    name = "slow"

    def open(self, token, directory, path, how):
        if path.endswith(".exe"):
            raise PermissionError(13, "not here", path)
        return self.next.open(token, directory, path, how)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[lamina.Server]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_bytes(b"content")
    with lamina.Server({"data": tmp_path / "data"}, chain=[Slow, "streams_xattr", "dos_attributes", "posix"]) as server:
        yield server


@pytest.fixture
def client(server: lamina.Server) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


def steps(record: dict[str, Any]) -> list[str]:
    found = []
    for step in record["steps"]:
        found += [f"{step['module']}.{step['operation']}", *steps(step)]
    return found


def of(records: list[dict[str, Any]], command: str) -> dict[str, Any]:
    return next(record for record in records if record["command"] == command)


def test_a_request_is_told_with_what_each_module_did(server: lamina.Server, client: Client) -> None:
    with server.trace("data") as records:
        assert client.read() == b"content"
        told = records()
    created, read = of(told, "CREATE"), of(told, "READ")
    assert created["path"] == read["path"] == "file"
    assert created["status"] == "SUCCESS"
    assert created["details"]["disposition"] == "open"
    assert created["user"].endswith(server.username)
    assert created["client"] == "127.0.0.1"
    assert {"slow.open", "posix.open", "dos_attributes.get_dos_attributes", "posix.getxattr"} <= set(steps(created))
    assert steps(read) == ["posix.pread"]
    assert read["steps"][0]["result"] == {"count": 7}
    assert read["us"] >= read["steps"][0]["us"] >= read["steps"][0]["own_us"] > 0
    assert [record["command"] for record in told if record["command"] != SERVER][-1] == "CLOSE"


def test_what_is_open_already_is_traced_and_known_by_its_path(server: lamina.Server, client: Client) -> None:
    with client.open() as file:
        file.read(1)
        with server.trace("data") as records:
            file.seek(2)
            assert file.read(3) == b"nte"
            (read,) = records()
        assert read["steps"][0]["arguments"]["path"] == "file"


def test_nothing_is_left_when_nobody_traces(server: lamina.Server, client: Client) -> None:
    (volume,) = (share.volume for share in server.runtime.server.shares if share.volume is not None)
    chain = volume.whole_chain
    with client.open() as file:
        with server.trace("data"), server.trace("DATA"):
            file.read(1)
        backend = chain.modules[-1]
        assert volume.chain.pread == backend.pread
        assert volume.chain.pwrite == backend.pwrite
        assert server.runtime.server.execute is dispatch.execute
        assert all(one.execute is dispatch.execute for one in server.runtime.server.connections)
        file.seek(0)
        assert file.read(1) == b"c"


def test_a_new_chain_is_followed_at_once(server: lamina.Server, client: Client, tmp_path: Path) -> None:
    from lamina.core.plan import ShareSpec

    client.read()
    with server.trace("data") as records:
        server.set_shares({"data": ShareSpec(tmp_path / "data", chain=("count", "posix"))})
        client.read()
        assert "count.open" in steps(of(records(), "CREATE"))


def test_only_a_share_that_is_there_can_be_traced(server: lamina.Server) -> None:
    with pytest.raises(LookupError, match="there is no share 'other'; there are: data"), server.trace("other"):
        pass


@pytest.mark.parametrize(
    ("wanted", "commands"),
    [
        (Filter(operation="read"), {"READ"}),
        (Filter(operation="pread"), {"READ"}),
        (Filter(module="slow"), {"CREATE"}),
        (Filter(path="FI*", operation="CREATE"), {"CREATE"}),
        (Filter(path="other*"), set()),
        (Filter(user="somebody"), set()),
        (Filter(user="LAMINA", operation="CLOSE"), {"CLOSE"}),
        (Filter(client="10.*"), set()),
        (Filter(slower_us=60e6), set()),
        (Filter(failures=True), {"CREATE"}),
    ],
)
def test_what_is_not_wanted_is_left_out(
    server: lamina.Server, client: Client, wanted: Filter, commands: set[str]
) -> None:
    client.read()
    with server.trace("data", wanted) as records:
        client.read()
        with pytest.raises(OSError, match=r"ACCESS_DENIED|Access is denied|Permission denied"):
            smbclient.open_file(
                r"\\127.0.0.1\data\no.exe", mode="rb", connection_cache=client._cache, **client._arguments
            )
        found = records()
    if wanted.failures:
        assert [(record["path"], record["status"]) for record in found] == [("no.exe", "ACCESS_DENIED")]
    assert {record["command"] for record in found} == commands


def test_what_there_is_no_room_for_is_dropped_and_counted() -> None:
    viewer = Viewer("data", limit=2)
    root = Root()
    root.steps.append(Step("posix", "pread"))
    record = {"us": 1.0, "user": "", "client": "", "path": "", "command": "READ", "failed": False}
    for _ in range(5):
        viewer.put(dict(record), root)
    records, dropped = viewer.take()
    assert (len(records), dropped) == (2, 3)
    assert viewer.take() == ([], 0)


def test_requests_of_many_steps_take_more_of_the_room() -> None:
    viewer = Viewer("data")
    root = Root()
    root.count = MAX_QUEUED_STEPS // 2
    for _ in range(3):
        viewer.put({"us": 1.0, "user": "", "client": "", "path": "", "command": "READ", "failed": False}, root)
    records, dropped = viewer.take()
    assert (len(records), dropped) == (2, 1)


class Tracer:
    """`lamina trace` in a process of its own, which has begun when this is made."""

    def __init__(self, environment: dict[str, str], *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lamina.core.cli", "trace", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        assert self.process.stderr is not None
        self.beginning = self.process.stderr.readline()

    def output(self) -> str:
        return self.process.communicate(timeout=SECONDS)[0]


def read(port: int, user: str, password: str, share: str = "data") -> None:
    cache: dict[str, Any] = {}
    arguments = {"username": user, "password": password, "port": port, "connection_cache": cache}
    with smbclient.open_file(rf"\\127.0.0.1\{share}\file", mode="rb", share_access="r", **arguments) as file:
        assert file.read() == b"content"
    smbclient.reset_connection_cache(connection_cache=cache)


@pytest.fixture
def serving(start: Start, tmp_path: Path) -> Any:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_bytes(b"content")
    server = start("serve", tmp_path / "data", "--address", "127.0.0.1", "--port", 0, "--user", "ada:engine", "--json")
    return server.event("listening")["listeners"][0]["port"]


def test_a_folder_that_is_served_can_be_traced_as_json(serving: int, environment: dict[str, str]) -> None:
    tracer = Tracer(environment, "data", "--json", "--count", 1, "--operation", "READ")
    assert tracer.beginning == "tracing data; Ctrl-C ends it\n"
    read(serving, "ada", "engine")
    (line,) = tracer.output().splitlines()
    record = json.loads(line)
    assert (record["command"], record["path"], record["status"]) == ("READ", "file", "SUCCESS")
    assert steps(record) == ["posix.pread"]
    assert tracer.process.returncode == 0


def test_text_shows_the_tree(serving: int, environment: dict[str, str]) -> None:
    tracer = Tracer(environment, "data", "--count", 1, "--path", "file", "--operation", "CREATE")
    read(serving, "ada", "engine")
    first, *rest = tracer.output().splitlines()
    assert "CREATE file disposition=open" in first
    assert "→ SUCCESS  [" in first
    assert "ada from 127.0.0.1" in first
    assert any("─ posix.open file access=read create=false → handle=" in line for line in rest)
    assert any("│  └─ posix.getxattr" in line or "   └─ posix.getxattr" in line for line in rest)


def test_a_server_with_a_configuration_is_traced_until_the_tracer_goes(
    start: Start, lamina: Start, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_bytes(b"content")
    accounts = ("--accounts", tmp_path / "accounts.db", "--uid", os.geteuid(), "--gid", os.getegid())
    assert lamina("user", "add", "ada", "--password-stdin", *accounts, stdin="engine\n").returncode == 0
    config = tmp_path / "lamina.toml"
    config.write_text('[server]\nlisten = ["127.0.0.1:0"]\naccounts = "accounts.db"\n[share.data]\npath = "data"\n')
    server = start("run", "-c", config, "--json")
    port = server.event("listening")["listeners"][0]["port"]
    wrong = lamina("trace", "music", "-c", config)
    assert (wrong.returncode, wrong.stderr) == (1, "lamina: there is no share 'music'; there are: data\n")
    for _ in range(2):
        tracer = Tracer(environment, "data", "-c", config, "--json", "--count", 1, "--operation", "pread")
        read(port, "ada", "engine")
        assert json.loads(tracer.output())["command"] == "READ"


def test_who_does_not_read_keeps_nobody_waiting_and_learns_what_he_missed(
    serving: int, environment: dict[str, str]
) -> None:
    (path,) = Path(environment["LAMINA_RUNTIME_DIR"]).glob("lamina-serve-*.sock")
    cache: dict[str, Any] = {}
    arguments = {"username": "ada", "password": "engine", "port": serving, "connection_cache": cache}
    with socket.socket(socket.AF_UNIX) as lazy:
        lazy.connect(str(path))
        lazy.sendall(json.dumps({"command": "trace", "share": "data", "limit": 5}).encode() + b"\n")
        answers = lazy.makefile()
        assert json.loads(answers.readline()) == {"tracing": "data"}
        name = "a name that is long " * 12
        for _ in range(200):
            assert not smbclient.path.exists(rf"\\127.0.0.1\data\{name}", **arguments)
        smbclient.reset_connection_cache(connection_cache=cache)
        lines = (json.loads(line) for line in answers)
        assert next(line["dropped"] for line in lines if "dropped" in line) > 0


def test_without_a_server_it_says_so(lamina: Start) -> None:
    done = lamina("trace", "data")
    assert done.returncode == 1
    assert "no server runs with /etc/lamina/lamina.toml, and no lamina serve" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root: another user is to ask")
def test_another_user_is_not_answered() -> None:
    async def answer(request: Any, say: Any) -> None:
        await say({"told": True})

    with shared_scratch() as folder:
        ours, theirs = _asked_by_two(folder / "control.sock", answer)
    assert ours == [{"told": True}]
    assert json.loads(theirs)["errors"] == ["only the server's own user and root may ask"]


def _asked_by_two(address: Path, answer: Any) -> tuple[list[dict[str, Any]], str]:
    script = f"""
import os, socket
os.setgroups([]); os.setgid(65534); os.setuid(65534)
client = socket.socket(socket.AF_UNIX)
client.connect({str(address)!r})
client.sendall(b'{{"command": "tell"}}\\n')
print(client.makefile().readline())
"""

    async def main() -> tuple[list[dict[str, Any]], str]:
        async with answering(address, {"tell": answer}):
            # The rights of the file are taken away, to see what the server itself does about it.
            address.chmod(0o777)
            ours = await asyncio.to_thread(lambda: list(ask(address, {"command": "tell"})))
            theirs = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
            return ours, (await theirs.communicate())[0].decode()

    return asyncio.run(main())
