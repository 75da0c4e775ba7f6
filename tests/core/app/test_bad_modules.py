"""A module that raises what it should not, or hangs: one clear error, one clear line, and nobody else notices."""

import asyncio
import errno
import logging
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from smbprotocol.exceptions import SMBOSError

import lamina
from lamina.core import stalls
from lamina.core.plan import ShareSpec
from lamina.core.server import new_event_loop
from lamina.core.stalls import Watchdog, give_up_stalled
from lamina.vfs_modules.engine import Engine, wait
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token
from tests.core.app.test_live_chains import Client

BELOW = ("streams_xattr", "dos_attributes", "posix")
INTERNAL_ERROR, IO_TIMEOUT = 0xC00000E5, 0xC00000B5


class Bad(VfsModule):
    """Does what modules must not do."""

    name = "bad"

    def open(self, token, directory, path, how):
        if path == "raises":
            self._names[path]
        if path == "hangs":
            wait(asyncio.get_running_loop().create_future())
        return self.next.open(token, directory, path, how)

    def connect(self, share):
        self._names = {}

    def around(self, operation, call):
        if operation.name != "pread":
            return call

        def pread(*arguments):
            if self.title == "bad":
                raise ValueError("not\nthis")
            return call(*arguments)

        return pread


@pytest.fixture
def server(tmp_path: Path) -> Iterator[lamina.Server]:
    for share in ("data", "other"):
        (tmp_path / share).mkdir()
        for name in ("file", "raises", "hangs"):
            (tmp_path / share / name).write_bytes(b"content")
    shares = {"data": ShareSpec(tmp_path / "data", chain=(Bad, *BELOW)), "other": ShareSpec(tmp_path / "other")}
    with lamina.Server(shares) as server:
        yield server


@pytest.fixture
def client(server: lamina.Server) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


def open_(client: Client, share: str, name: str):
    import smbclient

    path = rf"\\127.0.0.1\{share}\{name}"
    return smbclient.open_file(path, mode="rb", buffering=0, connection_cache=client._cache, **client._arguments)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_an_operation_raises_is_an_internal_error_to_the_client_and_one_line_to_the_administrator(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SMBOSError) as caught:
        open_(client, "data", "raises")
    assert caught.value.ntstatus == INTERNAL_ERROR
    (line,) = lines(caplog)
    assert line.startswith("share data: module bad in open (test_bad_modules.py:")
    assert line.endswith("failed with KeyError: 'raises'; the client is told of an internal error")
    with open_(client, "other", "file") as file:
        assert file.read() == b"content"


def test_what_a_function_of_around_raises_is_blamed_on_its_module(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with open_(client, "data", "file") as file, pytest.raises(Exception, match="INTERNAL_ERROR"):
        file.read()
    assert [line.partition(" (")[0] for line in lines(caplog)] == ["share data: module bad in pread"]
    assert "\n" not in lines(caplog)[0].replace("not\nthis", "")


def test_a_module_that_hangs_is_told_of_and_its_request_given_up(
    server: lamina.Server, client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "SLOW_SECONDS", 0.0)
    failed: list[SMBOSError] = []

    def hang() -> None:
        try:
            open_(Client(server), "data", "hangs")
        except SMBOSError as error:
            failed.append(error)

    def look(limit: float) -> bool:
        smb = server.runtime.server
        server._on_loop(give_up_stalled, smb.connections, limit, time.monotonic() + 400)
        return any("bad in open" in line for line in lines(caplog))

    thread = threading.Thread(target=hang)
    thread.start()
    while not look(0):
        thread.join(0.01)
    with open_(client, "other", "file") as file:
        assert file.read() == b"content"
    look(300)
    thread.join(20)
    assert [error.ntstatus for error in failed] == [IO_TIMEOUT]
    told = [line for line in lines(caplog) if "bad in open" in line]
    assert len(told) == 2
    assert told[0].endswith("for the client 127.0.0.1, has waited for 400 s")
    assert told[1].endswith("for the client 127.0.0.1, is given up after 400 s; the client is told of a timeout")


class Blocking(VfsModule):
    name = "blocking"

    def _block(self, until: threading.Event) -> None:
        until.wait(20)


def test_what_lets_nobody_else_run_is_told_while_it_does(caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    async def main() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), patience=0.05)
        await asyncio.sleep(0)
        Blocking._block(Blocking(), told)
        while len(lines(caplog)) < 2:
            await asyncio.sleep(0.01)
        watchdog.close()

    handler = Handler()
    stalls.log.addHandler(handler)
    try:
        asyncio.run(main())
    finally:
        stalls.log.removeHandler(handler)
    first, second = lines(caplog)[:2]
    assert first.startswith("share -: module blocking in _block (test_bad_modules.py:")
    assert first.endswith("keeps every client waiting: what takes long must wait or be offloaded")
    assert second.startswith("the server goes on, after ")


class Stuck(VfsModule):
    """Lets nobody else run."""

    name = "stuck"

    def open(self, token, directory, path, how):
        if path == "sleeps":
            time.sleep(1000)
        while path == "loops":
            pass
        return self.next.open(token, directory, path, how)


@pytest.mark.parametrize("name", ["sleeps", "loops"])
def test_what_lets_nobody_else_run_is_ended_and_the_others_go_on(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    ends: list[BaseException | int] = []

    async def main() -> None:
        engine = Engine(asyncio.get_running_loop())
        chain = local_chain(tmp_path, Stuck())

        def look(path: str) -> int:
            token = make_token()
            root = chain.open_root(token)
            try:
                handle = chain.open(token, root, path, OpenHow(Access.READ))
                return chain.pread(token, handle, memoryview(bytearray(10)), 0)
            finally:
                chain.close(token, root)

        watchdog = Watchdog(asyncio.get_running_loop(), patience=0.05, limit=0.1)
        await asyncio.sleep(0)
        stuck = asyncio.ensure_future(engine.run(look, name))
        other = asyncio.ensure_future(engine.run(look, "file"))
        ends.extend(await asyncio.gather(stuck, other, return_exceptions=True))
        watchdog.close()
        chain.disconnect()
        engine.close()

    before = signal.getsignal(signal.SIGUSR2)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    assert signal.getsignal(signal.SIGUSR2) == before
    assert [getattr(end, "errno", end) for end in ends] == [errno.ETIMEDOUT, 7]
    told = [line for line in lines(caplog) if "module stuck in open" in line]
    assert told[0].endswith("keeps every client waiting: what takes long must wait or be offloaded")
    assert told[1].endswith("is ended; its client is told of a timeout")
