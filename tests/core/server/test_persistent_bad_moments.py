"""Persistent opens whose clients go, come, close and lock while their records are on the way to the store."""

import asyncio
import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from lamina.core.commands import lock
from lamina.core.plan import DEFAULT_CHAIN, ModuleSpec
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.durable_contexts import DHANDLE_FLAG_PERSISTENT as PERSISTENT
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.engine import wait
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.persisting.record_store import RecordStore
from lamina.vfs_modules.token import ImpersonationToken
from tests.core.server.test_directory_leases import FILE_INFO, RENAME, name_information
from tests.core.server.test_persistent import (
    EXCLUSIVE_LOCK,
    UNLOCK,
    again,
    asked,
    connect,
    kept,
    refused,
    stop,
)
from tests.support.durable import GUID, OTHER_CLIENT, OTHER_GUID, back_v2
from tests.support.served import FILE_OPEN_IF, GENERIC_ALL, Served, new_file

SEQUENCE = 1 << 4 | 3


class Hindered(VfsModule):
    """Where a test says so: a store that takes its time or is full, and files whose close fails."""

    _gate: ClassVar["asyncio.Future[None] | None"] = None
    _arrived: ClassVar[threading.Event] = threading.Event()
    _full: ClassVar[bool] = False
    _close_fails: ClassVar[bool] = False

    def save_open(self, token: ImpersonationToken, open_id: int, record: bytes) -> None:
        if Hindered._full:
            raise OSError(errno.ENOSPC, "no space left")
        if Hindered._gate is not None:
            Hindered._arrived.set()
            wait(asyncio.shield(Hindered._gate))
        self.next.save_open(token, open_id, record)

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        self.next.close(token, handle)
        if Hindered._close_fails and not handle.is_directory:
            raise OSError(errno.EIO, "the last of what was written is lost")


class Store:
    """The share's store, as a test wants it to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set = lambda name, value: monkeypatch.setattr(Hindered, name, value)

    def hold(self, served: Served) -> None:
        """What is to be saved from now on waits for `release`."""
        self._set("_arrived", threading.Event())
        self._set("_gate", served.call(served.core.engine.loop.create_future))

    @staticmethod
    def wait_for_one() -> None:
        assert Hindered._arrived.wait(10)

    def release(self, served: Served) -> None:
        gate = Hindered._gate
        assert gate is not None
        self._set("_gate", None)
        served.call(lambda: gate.set_result(None))
        served.until(lambda: not served.core.engine.running)

    def be_full(self, full: bool) -> None:
        self._set("_full", full)

    def let_closes_fail(self) -> None:
        self._set("_close_fails", True)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


@pytest.fixture
def start(tmp_path: Path, serve: Callable[..., Served]) -> Iterator[Callable[[], Served]]:
    """Start a server on the share of the ones before it."""
    started: list[Served] = []

    def begin() -> Served:
        keeping = ModuleSpec("persistent_store", {"path": str(tmp_path / "opens.db")})
        started.append(serve(chain=(Hindered, keeping, "durable", *DEFAULT_CHAIN), machine_sid="S-1-5-21-1-2-3"))
        return started[-1]

    yield begin
    for served in started:
        if served.running:
            stop(served)


Start = Callable[[], Served]


def cut(served: Served) -> None:
    """Cut the connections, and wait until the server knows."""
    served.disconnect()
    served.until(lambda: not served.core.sessions)


@pytest.mark.parametrize("how", ["cut off", "impatient"])
def test_who_does_not_wait_for_his_open_gets_it_the_next_time(start: Start, store: Store, how: str) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked())
    stop(served)

    served = start()
    store.hold(served)
    client = connect(served)
    body = encode_create_request(
        CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF, contexts=back_v2(file, GUID, PERSISTENT))
    )
    message = client.send(Command.CREATE, body)
    store.wait_for_one()
    if how == "cut off":
        cut(served)
    else:
        client.cancel(message)
        refused(S.CANCELLED, client.wait(message).check)
    store.release(served)
    assert served.call(lambda: len(served.core.durables)) == 1
    client = connect(served)
    client.close(again(client, file))
    assert served.call(lambda: served.core.durables.persistent) == 0


def test_a_full_store_does_not_take_an_open_from_its_client(start: Start, store: Store, bug_reports: list[str]) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked())
    stop(served)

    served = start()
    store.be_full(True)
    client = connect(served)
    client.close(again(client, file))
    bug_reports.clear()


def test_an_open_whose_close_fails_leaves_no_record(start: Start, store: Store, tmp_path: Path) -> None:
    served = start()
    new_file(connect(served), contexts=asked())
    cut(served)
    served.until(lambda: len(served.core.durables))
    store.let_closes_fail()

    def expire() -> None:
        for open_ in served.core.durables.waiting():
            served.core.durables.end(open_)

    served.call(expire)
    served.until(lambda: not served.core.engine.running)
    stop(served)
    assert kept(tmp_path) == 0


def test_a_lock_that_could_not_be_kept_is_taken_when_it_is_sent_again(
    start: Start, store: Store, bug_reports: list[str]
) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    store.be_full(True)
    refused(S.DISK_FULL, lambda: client.lock(file, [(0, 1, EXCLUSIVE_LOCK)], SEQUENCE))
    store.be_full(False)
    client.lock(file, [(0, 1, EXCLUSIVE_LOCK)], SEQUENCE)
    other = connect(served, OTHER_CLIENT)
    theirs = new_file(other)
    refused(S.LOCK_NOT_GRANTED, lambda: other.lock(theirs, [(0, 1, EXCLUSIVE_LOCK)]))
    bug_reports.clear()


def test_what_is_given_back_while_it_is_being_saved_does_not_come_back_at_the_next_start(
    start: Start, store: Store
) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    store.hold(served)
    locked = client.send_lock(file, [(0, 1, EXCLUSIVE_LOCK)])
    store.wait_for_one()
    unlocked = client.send_lock(file, [(0, 1, UNLOCK)])
    served.until(lambda: sum(len(each.running) for each in served.core.connections) == 2)
    store.release(served)
    client.wait(locked).check()
    client.wait(unlocked).check()
    stop(served)

    served = start()
    client = connect(served)
    file = again(client, file)
    other = connect(served, OTHER_CLIENT)
    other.lock(new_file(other), [(0, 1, EXCLUSIVE_LOCK)])


def test_who_closes_a_file_that_is_just_becoming_persistent_leaves_nothing(
    start: Start, store: Store, tmp_path: Path
) -> None:
    served = start()
    client = connect(served)
    store.hold(served)
    body = encode_create_request(CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF, contexts=asked()))
    message = client.send(Command.CREATE, body)
    store.wait_for_one()
    (file_id,) = served.call(lambda: [number for each in served.core.sessions.values() for number in each.opens])
    closing = client.send(Command.CLOSE, encode_close_request(CloseRequest(file_id, file_id)))
    served.until(lambda: sum(len(each.running) for each in served.core.connections) == 2)
    store.release(served)
    client.wait(message).check()
    client.wait(closing).check()
    assert served.call(lambda: served.core.durables.persistent) == 0
    stop(served)
    assert kept(tmp_path) == 0


def test_who_is_cut_off_before_his_open_is_kept_has_a_persistent_one(start: Start, store: Store) -> None:
    served = start()
    client = connect(served)
    store.hold(served)
    body = encode_create_request(CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF, contexts=asked()))
    client.send(Command.CREATE, body)
    store.wait_for_one()
    cut(served)
    store.release(served)
    assert served.call(lambda: (len(served.core.durables), served.core.durables.persistent)) == (1, 1)


def test_a_waiting_open_is_met_under_the_name_that_its_file_has_now(start: Start) -> None:
    served = start()
    owner, other = connect(served), connect(served, OTHER_CLIENT)
    new_file(owner, contexts=asked())
    theirs = new_file(other)
    owner.disconnect()
    served.until(lambda: len(served.core.durables))

    other.set_info(theirs, FILE_INFO, RENAME, name_information("moved"))
    refused(S.FILE_NOT_AVAILABLE, lambda: new_file(other, "moved"))
    new_file(other, "file")


def test_what_a_full_disk_did_not_forget_is_forgotten_with_the_next_record(
    start: Start, tmp_path: Path, bug_reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    with monkeypatch.context() as disk:
        disk.setattr(RecordStore, "_apply_one", no_space)
        client.close(file)
    assert bug_reports
    bug_reports.clear()
    new_file(client, "another", contexts=asked(OTHER_GUID))
    stop(served)
    assert kept(tmp_path) == 1


def test_locks_of_one_persistent_open_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "MAX_PERSISTENT_LOCKS", 10)
    client = connect(start())
    file, plain = new_file(client, contexts=asked()), new_file(client, "plain")
    locks = [(offset, 1, EXCLUSIVE_LOCK) for offset in range(11)]
    client.lock(file, locks[:10])
    refused(S.INSUFFICIENT_RESOURCES, lambda: client.lock(file, locks[10:]))
    client.lock(file, [(0, 1, UNLOCK)])
    client.lock(file, locks[10:])
    client.lock(plain, locks)


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space left")
