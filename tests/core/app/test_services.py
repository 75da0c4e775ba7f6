"""Modules of a running server: what they see of requests, what they announce and keep, and how they are reloaded."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

import lamina
from lamina.core.cli.foreground import JsonFormatter
from lamina.core.plan import ModuleSpec, ShareSpec
from lamina.core.runtime import StartError
from lamina.core.status import status
from lamina.vfs_modules.hooks import listens
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.services import RequestView, current_request
from lamina.vfs_modules.services.request_view import pretend
from tests.core.app.test_live_chains import Client

BELOW = ("streams_xattr", "dos_attributes", "posix")
FILE_OPEN, FILE_NON_DIRECTORY_FILE = 1, 0x40


class Looking(VfsModule, public=("seen", "heard", "come")):
    """Notes what requests look like from within a chain."""

    seen: ClassVar[list[RequestView | None]] = []
    heard: ClassVar[list[tuple[str, str]]] = []
    come = threading.Event()

    def open(self, token, directory, path, how):
        self.seen.append(current_request())
        return self.next.open(token, directory, path, how)

    def pread(self, token, handle, buffer, offset):
        self.seen.append(current_request())
        self.metrics.counter("reads", "reads that were seen").add()
        self.health.degraded("somebody reads")
        return self.next.pread(token, handle, buffer, offset)

    @listens
    def event(self, kind, details):
        if details.get("share") == "data":
            self.heard.append((kind, details["state"]))
            self.come.set()


class CountingOptions(ModuleOptions):
    step: int = 1
    refuse: bool = False


class Counting(VfsModule):
    """Counts opens, across a change of its options, and keeps the count."""

    name = "counting"

    Options = CountingOptions
    options: CountingOptions

    def connect(self, share):
        self._count = int(self.storage.get("count") or b"0")

    def reload(self, previous):
        if self.options.refuse:
            raise OSError(5, "not now")
        self._taken_over = previous.options.step

    def disconnect(self):
        self.storage.set("count", str(self._count).encode())

    def open(self, token, directory, path, how):
        self._count += self.options.step
        return self.next.open(token, directory, path, how)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_bytes(b"content")
    return tmp_path / "data"


@pytest.fixture
def looked(folder: Path) -> Iterator[lamina.Server]:
    for noted in (Looking.seen, Looking.heard):
        noted.clear()
    Looking.come.clear()
    with lamina.Server({"data": folder}, chain=[Looking, *BELOW]) as server:
        client = Client(server)
        assert client.read() == b"content"
        client.close()
        yield server


def test_a_module_sees_the_request_as_the_client_has_sent_it(looked: lamina.Server) -> None:
    views = [view for view in Looking.seen if view is not None and view.open is not None and view.open.name]
    opening, reading = views[0], views[-1]
    assert (opening.command, reading.command) == ("CREATE", "READ")
    assert opening.open is not None
    assert (opening.open.name, opening.open.disposition) == ("file", FILE_OPEN)
    assert opening.open.options & FILE_NON_DIRECTORY_FILE
    assert opening.open.desired_access
    assert opening.open.granted_access is None
    assert reading.open is not None
    assert reading.open.name == "file"
    assert reading.open.granted_access
    assert reading.open.desired_access is None
    for view in (opening, reading):
        assert (view.share, view.client_address, view.dialect) == ("data", "127.0.0.1", "3.1.1")
        assert view.user.endswith(looked.username)
        assert view.session_id
        assert view.encrypted != view.signed


def test_what_the_server_does_itself_is_no_request() -> None:
    assert current_request() is None


def test_a_test_can_pretend_a_request() -> None:
    view = RequestView("CREATE", "data", "ada", 1, "10.0.0.1", "3.1.1", True, False, None)
    with pretend(view):
        assert current_request() is view
    assert current_request() is None


def test_the_status_has_health_and_metrics_and_changes_of_health_are_announced(looked: lamina.Server) -> None:
    assert Looking.come.wait(20)
    assert Looking.heard == [("module.health", "degraded")]
    (share,) = status(looked.runtime)["shares"]
    top, *rest = share["modules"]
    assert (share["name"], top["name"], top["health"], top["reason"]) == (
        "data",
        "Looking",
        "degraded",
        "somebody reads",
    )
    assert [(one["name"], one["health"]) for one in rest] == [(name, "ok") for name in BELOW]
    (metric,) = top["metrics"]
    assert (metric["name"], metric["kind"]) == ("reads", "counter")
    assert metric["value"] >= 1


def test_programs_find_the_fields_of_a_message_apart_from_it(caplog: pytest.LogCaptureFixture) -> None:
    module = Counting()
    module.log.warning("a file was refused", path="a.exe", error=OSError("gone"))
    shown = json.loads(JsonFormatter().format(caplog.records[0]))
    assert shown["logger"] == "lamina.module.counting"
    assert shown["fields"] == {"share": "", "module": "counting", "path": "a.exe", "error": "OSError('gone')"}


def chain(step: int, refuse: bool = False) -> tuple[object, ...]:
    return (ModuleSpec(Counting, {"step": step, "refuse": refuse}), *BELOW)


def counting(server: lamina.Server) -> Counting:
    volume = server.runtime.shares()["data"].volume
    assert volume is not None
    module = volume.whole_chain.modules[0]
    assert isinstance(module, Counting)
    return module


def test_a_module_whose_options_change_takes_over_from_the_one_before(folder: Path) -> None:
    with lamina.Server({"data": ShareSpec(folder, chain=chain(1))}) as server:
        before = counting(server)
        assert not hasattr(before, "_taken_over")
        server.set_shares({"data": ShareSpec(folder, chain=chain(5))})
        after = counting(server)
        assert after is not before
        assert after._taken_over == 1


def test_a_module_that_refuses_to_take_over_leaves_everything_as_it_was(folder: Path) -> None:
    with lamina.Server({"data": ShareSpec(folder, chain=chain(1))}) as server:
        before = counting(server)
        with pytest.raises(StartError, match="not now"):
            server.set_shares({"data": ShareSpec(folder, chain=chain(5, refuse=True))})
        assert counting(server) is before
        client = Client(server)
        assert client.read() == b"content"
        client.close()


def test_lamina_status_asks_a_server_in_a_process_of_its_own(tmp_path: Path, folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("LAMINA_RUNTIME_DIR", str(tmp_path / "run"))
    command = [sys.executable, "-m", "lamina.core.cli"]
    serve = [*command, "serve", str(folder), "--port", "0", "--address", "127.0.0.1", "--json"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        while json.loads(server.stdout.readline())["event"] != "listening":
            pass
        told = subprocess.run([*command, "status", "--json"], capture_output=True, text=True, check=True).stdout
        (share,) = json.loads(told)["shares"]
        assert [module["name"] for module in share["modules"]] == list(BELOW)
        assert share["path"] == str(folder)
        metrics = subprocess.run([*command, "status", "--metrics"], capture_output=True, text=True, check=True).stdout
        assert 'lamina_module_health{share="data",module="posix"} 0\n' in metrics
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()
    gone = subprocess.run([*command, "status"], capture_output=True, text=True, check=False)
    assert gone.returncode == 1
    assert "no server of yours runs" in gone.stderr
