"""Storage that dies and comes back while clients work, and storage that does not: on servers of the tests' own."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus
from tests.contrib import stores
from tests.contrib.stores import Store
from tests.support.processes import Folder, ServerProcess, shared_scratch
from tests.support.smbclient import Answer, SmbClient, installed
from tests.support.wire_client import StatusError, WireClient

pytestmark = [
    pytest.mark.skipif(not installed(), reason="smbclient is not installed: apt install smbclient"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

GENERIC_ALL = 0x10000000
MEBIBYTES = 256
PATIENCE = 20.0
"""Seconds that the server waits for the storage."""

HASTE = 4.0
"""The same, where nothing is to be expected."""

TOLD = (NtStatus.IO_TIMEOUT, NtStatus.DISMOUNTED, NtStatus.IO_DEVICE_ERROR, NtStatus.UNEXPECTED_IO_ERROR)
"""What a client may be told of storage that is gone."""


@pytest.fixture(scope="module", params=stores.NAMES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that nobody else needs."""
    if reason := stores.why_not(request.param):
        pytest.skip(reason)
    with stores.running(request.param, f"failures-{time.monotonic_ns()}") as running:
        yield running


@pytest.fixture(scope="module")
def top(store: Store) -> str:
    return store.new_folder("share")


@pytest.fixture(scope="module")
def server(store: Store, top: str) -> Iterator[ServerProcess]:
    """A server of the store as `share`, and as `hasty`; and of a folder as `local`."""
    with shared_scratch() as scratch:
        (scratch / "local").mkdir()
        (scratch / "local/file").write_bytes(b"here")
        shares = {
            "share": store.folder(top, **{store.patience: PATIENCE}),
            "hasty": store.folder(top, **{store.patience: HASTE}),
            "local": Folder(str(scratch / "local")),
        }
        with store.serving(shares, scratch / "state") as running:
            yield running


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes a while to copy; no two blocks of it are the same."""
    path = tmp_path_factory.mktemp("large") / "large"
    block = hashlib.shake_128(b"large").digest(1 << 20)
    with path.open("wb") as file:
        for number in range(MEBIBYTES):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Copying:
    """smbclient at work in a thread of its own."""

    def __init__(self, client: SmbClient, command: str, local: Path) -> None:
        self.answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, args=(client, command, local))
        self._thread.start()

    def _run(self, client: SmbClient, command: str, local: Path) -> None:
        self.answer = client.do(command, local=local)

    def wait(self) -> Answer:
        self._thread.join()
        assert self.answer is not None
        return self.answer


def wait_for_size(store: Store, path: str, size: int) -> None:
    """Return when a file on the store has so many bytes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if store.view.stat(path).size >= size:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.01)
    raise TimeoutError(path)


def test_a_copy_to_the_share_ends_well_though_the_storage_is_killed(
    store: Store, server: ServerProcess, top: str, large: Path, tmp_path: Path
) -> None:
    client = SmbClient(server)
    copy = Copying(client, "put large there", large.parent)
    wait_for_size(store, f"{top}/there", 16 << 20)
    store.kill_storage()
    store.start_storage()
    copy.wait().check()
    client.do("get there back", local=tmp_path).check()
    assert digest(tmp_path / "back") == digest(large)


def test_a_copy_from_the_share_ends_well_though_the_storage_is_killed(
    store: Store, server: ServerProcess, top: str, large: Path, tmp_path: Path
) -> None:
    client = SmbClient(server)
    client.do("put large from", local=large.parent).check()
    copy = Copying(client, "get from back", tmp_path)
    while not (tmp_path / "back").exists() or (tmp_path / "back").stat().st_size < 16 << 20:
        time.sleep(0.001)
    store.kill_storage()
    store.start_storage()
    copy.wait().check()
    assert digest(tmp_path / "back") == digest(large)


class Asking:
    """A client that asks one thing in a thread of its own: the `status` that it gets, and after how many `seconds`."""

    def __init__(self, server: ServerProcess, ask: Callable[[WireClient], object]) -> None:
        self.status: int | None = None
        self.seconds = 0.0
        self._client = WireClient(server.host, server.port, 100.0)
        self._client.negotiate()
        self._client.session_setup(server.user.name, server.user.password)
        self._client.tree_connect("hasty")
        self._ask = ask
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        started = time.monotonic()
        try:
            self._ask(self._client)
            status = int(NtStatus.SUCCESS)
        except StatusError as error:
            status = error.status
        self.seconds = time.monotonic() - started
        self.status = status

    def join(self) -> None:
        self._thread.join()
        self._client.disconnect()


def _write(client: WireClient) -> None:
    file = client.create("another", access=GENERIC_ALL, disposition=c.FILE_CREATE)
    client.write(file, b"content")
    client.flush(file)


def _list(client: WireClient) -> None:
    client.query_directory(client.create(""))


def test_what_is_gone_for_good_is_told_in_time_and_the_server_serves_the_rest(
    store: Store, server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "sent").write_bytes(b"content")
    SmbClient(server, share="hasty").do("put sent file", local=tmp_path).check()
    asking = [Asking(server, ask) for ask in (_write, _list)]
    store.kill_all()
    for one in asking:
        one.start()
    local = SmbClient(server, share="local")
    while any(one.status is None for one in asking):
        local.do("get file near", local=tmp_path).check()
    for one in asking:
        one.join()
        assert one.status in TOLD
        assert one.seconds < 10 * HASTE
    assert server.running()
    assert (tmp_path / "near").read_bytes() == b"here"
