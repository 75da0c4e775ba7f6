"""Persistent opens outlive the worker they were made in, and the server of whatever number of workers."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.core.plan import DEFAULT_CHAIN
from lamina.core.wire.constants import Command
from lamina.core.wire.create_contexts import REQUEST_LEASE, decode_lease
from lamina.core.wire.durable_contexts import DHANDLE_FLAG_PERSISTENT as PERSISTENT
from lamina.ntfsa.constants import DELETE, FILE_DELETE_ON_CLOSE, FILE_READ_ATTRIBUTES
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.stock.persisting.record_store import RecordStore
from tests.core.server.test_directory_leases import FILE_INFO, RENAME, name_information
from tests.support.crew import SECONDS, Crew, worker
from tests.support.durable import EXCLUSIVE_LOCK, GUID, UNLOCK, asked_v2, back_v2, begin_open, leased
from tests.support.granted import RH, RWH
from tests.support.processes import (
    Folder,
    Layout,
    empty,
    free_port,
    owned_folder,
    shared_scratch,
    start_lamina,
    two_users,
)
from tests.support.served import new_file
from tests.support.wire_client import Open, StatusError, WireClient

SEQUENCE = 1 << 4 | 3


class Machine:
    """A server that is started again, with as many workers as is asked."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "opens.db"
        self.state = folder / "state"
        self.state.mkdir()
        users = two_users("lamina")
        chain = (
            ("persistent_store", {"path": str(self.store)}),
            ("durable", {}),
            *((str(m), {}) for m in DEFAULT_CHAIN),
        )
        share = Folder(str(owned_folder(folder / "share", users[0])), chain=chain)
        self.layout = Layout({"share": share}, users, machine_sid="S-1-5-21-1-2-3", workers=2)
        self.port = free_port()
        self.crew: Crew | None = None

    def start(self, workers: int = 2) -> Crew:
        self.crew = Crew(start_lamina(replace(self.layout, workers=workers), self.state, self.port))
        return self.crew

    def stop(self) -> None:
        if self.crew is not None and self.crew.server.running():
            self.crew.disconnect()
            self.crew.server.stop()

    def records(self) -> int:
        """How many opens the store has, while the server does not run."""
        store = RecordStore(str(self.store))
        try:
            return len(store.load())
        finally:
            store.close()


@contextlib.contextmanager
def machine_in(folder: Path) -> Iterator[Machine]:
    machine = Machine(folder)
    try:
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def machine() -> Iterator[Machine]:
    with shared_scratch() as folder, machine_in(folder) as machine:
        yield machine


@pytest.fixture(scope="session")
def _served() -> Iterator[Machine]:
    with shared_scratch() as folder, machine_in(folder) as machine:
        machine.start()
        yield machine


@pytest.fixture
def crew(_served: Machine) -> Iterator[Crew]:
    """A server whose workers are killed, and never all of it."""
    assert _served.crew is not None
    yield _served.crew
    _served.crew.disconnect()
    empty(_served.crew.folder)


def asked(guid: bytes = GUID, timeout: int = 0) -> dict[bytes, bytes]:
    return asked_v2(guid, timeout, PERSISTENT)


def opened(client: WireClient, name: str = "file", guid: bytes = GUID, **options: object) -> Open:
    """A persistent open with a lease of all rights."""
    contexts = leased(RWH, client.client_guid) | asked(guid)
    return new_file(client, name, oplock_level=LEASE, contexts=contexts, **options)


def again(client: WireClient, file: Open, name: str = "file", guid: bytes = GUID, state: int = RWH) -> Open:
    contexts = leased(state, client.client_guid) | back_v2(file, guid, PERSISTENT)
    regained = new_file(client, name, oplock_level=LEASE, contexts=contexts)
    assert regained.file_id == file.file_id
    assert decode_lease(regained.response.contexts[REQUEST_LEASE]).state == state
    return regained


def refused(status: int, call: Callable[[], object]) -> None:
    with pytest.raises(StatusError) as caught:
        call()
    assert caught.value.status == status


def test_one_is_given_back_with_all_it_holds_after_its_worker_was_killed(crew: Crew) -> None:
    first, other = crew.in_each()
    file = opened(first, share=0)
    first.write(file, b"written before")
    first.lock(file, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    for _ in range(2):
        crew.kill(worker(first))
        refused(S.FILE_NOT_AVAILABLE, lambda: new_file(other))
        client = crew.client(first.client_guid)
        assert worker(client) == worker(first)
        file = again(client, file)
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
        assert client.read(file, 100) == b"written before"
    client.lock(file, [(0, 5, UNLOCK)])
    client.close(file)
    other.close(new_file(other))


def test_one_without_any_right_to_cache_stays_too(crew: Crew) -> None:
    first, other = crew.in_each()
    file = new_file(first, contexts=asked(), share=0)
    crew.kill(worker(first))
    refused(S.FILE_NOT_AVAILABLE, lambda: new_file(other))
    client = crew.client(first.client_guid)
    regained = new_file(client, contexts=back_v2(file, GUID, PERSISTENT))
    assert regained.file_id == file.file_id
    refused(S.SHARING_VIOLATION, lambda: new_file(other))
    client.close(regained)
    other.close(new_file(other))


def test_a_restored_lease_is_broken_by_another_worker(crew: Crew) -> None:
    first, other = crew.in_each()
    file = opened(first)
    crew.kill(worker(first))
    client = crew.client(first.client_guid)
    again(client, file)
    waiting = begin_open(other)
    assert client.recv().header.command == Command.OPLOCK_BREAK
    client.close(file)
    assert other.wait(waiting).status == S.SUCCESS


def test_a_break_that_nobody_is_left_to_answer_is_over(crew: Crew) -> None:
    first, other = crew.in_each()
    file = opened(first)
    waiting = begin_open(other)
    assert first.recv().header.command == Command.OPLOCK_BREAK
    crew.kill(worker(first))
    assert other.wait(waiting).status == S.SUCCESS
    client = crew.client(first.client_guid)
    client.close(again(client, file, state=RH))


def test_one_that_deletes_its_file_does_so_at_its_close(crew: Crew) -> None:
    first, _ = crew.in_each()
    file = opened(first, "doomed", options=FILE_DELETE_ON_CLOSE)
    crew.kill(worker(first))
    client = crew.client(first.client_guid)
    file = again(client, file, "doomed")
    assert (crew.folder / "doomed").exists()
    client.close(file)
    assert not (crew.folder / "doomed").exists()


def test_one_that_another_worker_has_renamed_is_known_by_its_new_name(crew: Crew) -> None:
    first, other = crew.in_each()
    file = new_file(first, contexts=asked(), share=7)
    name = other.create("file", access=DELETE | FILE_READ_ATTRIBUTES, share=7)
    other.set_info(name, FILE_INFO, RENAME, name_information("renamed"))
    other.close(name)
    crew.kill(worker(first))
    refused(S.FILE_NOT_AVAILABLE, lambda: new_file(other, "renamed"))
    client = crew.client(first.client_guid)
    regained = new_file(client, "renamed", contexts=back_v2(file, GUID, PERSISTENT))
    assert regained.file_id == file.file_id
    client.close(regained)


def test_one_without_a_lease_goes_to_the_worker_that_its_client_has_come_to(crew: Crew) -> None:
    first, other = crew.in_each()
    file = new_file(first, contexts=asked(), share=0)
    first.write(file, b"written before")
    first.lock(file, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    first.disconnect()
    regained = new_file(other, contexts=back_v2(file, GUID, PERSISTENT))
    assert regained.file_id == file.file_id
    other.lock(regained, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    crew.kill(worker(other))
    client = crew.client(other.client_guid)
    regained = new_file(client, contexts=back_v2(file, GUID, PERSISTENT))
    assert client.read(regained, 100) == b"written before"
    client.close(regained)


def test_what_is_not_asked_back_in_time_is_closed_once(machine: Machine) -> None:
    crew = machine.start()
    first, other = crew.in_each()
    new_file(first, contexts=asked(timeout=1))
    crew.kill(worker(first))
    deadline, stays = time.monotonic() + SECONDS, True
    while stays and time.monotonic() < deadline:
        with contextlib.suppress(StatusError):
            other.close(new_file(other, share=0))
            stays = False
    assert not stays
    machine.stop()
    assert machine.records() == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [3, 1])
def test_all_are_back_after_the_server_was_killed(machine: Machine, workers: int) -> None:
    crew = machine.start()
    clients = [*crew.in_each(), crew.client(), crew.client()]
    names = [f"file {number}" for number in range(len(clients))]
    guids = [b"%16d" % number for number in range(len(clients))]
    files = [opened(client, name, guid, share=0) for client, name, guid in zip(clients, names, guids, strict=True)]
    for client, file in zip(clients, files, strict=True):
        client.write(file, b"before")
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    crew.crash()
    assert machine.records() == len(files)

    crew = machine.start(workers)
    strangers = [crew.client() for _ in range(workers + 1)]
    for stranger in strangers:
        for name in names:
            refused(S.FILE_NOT_AVAILABLE, lambda: new_file(stranger, name))  # noqa: B023 - called at once
    if workers > 1:
        # Before anybody is back to his open.
        for number in range(1, workers + 1):
            crew.kill(number)
    back = [crew.client(client.client_guid) for client in clients]
    for client, file, name, guid in zip(back, files, names, guids, strict=True):
        again(client, file, name, guid)
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
        assert client.read(file, 100) == b"before"
    for client, file in zip(back, files, strict=True):
        client.close(file)
    machine.stop()
    assert machine.records() == 0
