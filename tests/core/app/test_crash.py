"""What was acknowledged over a persistent open is there once and whole, however the server or the network fails."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamina.core.plan import DEFAULT_CHAIN
from lamina.vfs_modules.stock.persisting.record_store import RecordStore
from tests.support.persistent_writer import LOCKS_AT, SLOT_BYTES, SLOTS, PersistentWriter
from tests.support.processes import Folder, Layout, ServerProcess, User, free_port, start_lamina
from tests.support.proxy import Fate, Link, Proxy, Way
from tests.support.wire_client import WireClient

log = logging.getLogger(__name__)

USER = User("ada", "engine")
EXCLUSIVE_NOW, UNLOCK = 0x12, 0x04
CRASHES = 50


class Machine:
    """A server that is started again, on the same port, with the same share and the same store."""

    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir()
        self.folder = folder
        self.store = folder / "opens.db"
        chain = [("persistent_store", {"path": str(self.store)}), ("durable", {})]
        chain += [(str(name), {}) for name in DEFAULT_CHAIN]
        share = Folder(str(folder / "data"), chain=chain)
        self._layout = Layout({"data": share}, [USER], machine_sid="S-1-5-21-1-2-3")
        self.port = free_port()
        self._process: ServerProcess | None = None

    def start(self) -> None:
        self._process = start_lamina(self._layout, self.folder, self.port)

    def crash(self) -> None:
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        assert self._process is not None
        self._process.stop()

    def records(self) -> int:
        """How many opens the store has, while the server does not run."""
        store = RecordStore(str(self.store))
        try:
            return len(store.load())
        finally:
            store.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    machine.start()
    yield machine
    machine.stop()


def connecting(port: Callable[[], int], timeout: float) -> Callable[[int], WireClient]:
    """How a client connects: with a tree, saying which session it has lost."""

    def connect(lost_session: int) -> WireClient:
        client = WireClient("127.0.0.1", port(), timeout, b"persistent guid ")
        try:
            client.negotiate()
            client.session_setup(USER.name, USER.password, previous_session_id=lost_session)
            client.tree_connect("data")
        except BaseException:
            client.disconnect()
            raise
        return client

    return connect


@contextmanager
def writing(connect: Callable[[int], WireClient]) -> Iterator[PersistentWriter]:
    """A writer in a thread of its own; at the end it has closed its file, and its errors are the test's."""
    writer = PersistentWriter(connect)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            writer.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="writer")
    thread.start()
    try:
        while not writer.acknowledged and not errors:
            time.sleep(0.01)
        yield writer
    finally:
        writer.stopped.set()
        thread.join(90)
    if errors:
        raise errors[0]
    assert not thread.is_alive()


def check_file(machine: Machine, writer: PersistentWriter) -> None:
    """Every acknowledged record is where it belongs unless a later one is, and nothing else is there."""
    content = (machine.folder / "data" / "records").read_bytes()
    slots = [content[start : start + SLOT_BYTES] for start in range(0, len(content), SLOT_BYTES)]
    assert slots == [expected for slot in range(SLOTS) if (expected := writer.expected(slot))]


def check_locks(machine: Machine, writer: PersistentWriter) -> None:
    """Every lock was given back as often as it was taken."""
    with connecting(lambda: machine.port, 20.0)(0) as client:
        file = client.create("records", access=0x10000000, disposition=1)
        first = max(0, writer.acknowledged - 4096)
        for number in range(first, writer.acknowledged, 64):
            client.lock(file, [(LOCKS_AT + number, min(64, writer.acknowledged - number), EXCLUSIVE_NOW)])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_killed_again_and_again_loses_nothing(machine: Machine) -> None:
    seed = random.randrange(1 << 32)
    log.info("seed %d", seed)
    chance = random.Random(seed)
    with writing(connecting(lambda: machine.port, 20.0)) as writer:
        for _ in range(CRASHES):
            # Mostly while records are written, sometimes while its client comes back, or before.
            if chance.random() < 0.7:
                writer.wait_for(chance.randrange(1, 20))
            time.sleep(0.05 * chance.random())
            machine.crash()
            machine.start()
    log.info("%d records, back %d times", writer.acknowledged, writer.reconnected)
    assert writer.reconnected > CRASHES // 4
    assert writer.acknowledged > 2 * SLOTS
    check_file(machine, writer)
    check_locks(machine, writer)
    machine.stop()
    assert machine.records() == 0
    machine.start()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_network_that_cuts_tears_drops_and_delays_loses_nothing(machine: Machine) -> None:
    seed = random.randrange(1 << 32)
    log.info("seed %d", seed)
    chance = random.Random(seed)
    bad = threading.Event()

    fates = (Fate.CUT, Fate.CUT_AFTER, Fate.TEAR, Fate.DROP, Fate.STALL)

    def rule(link: Link, way: Way, frame: bytes) -> Fate | float:
        if not bad.is_set() or chance.random() > 0.03:
            return Fate.PASS
        return chance.choice(fates) if chance.random() < 0.8 else 0.05 * chance.random()

    with Proxy(machine.port) as proxy:
        proxy.rule = rule
        with writing(connecting(lambda: proxy.port, 0.5)) as writer:
            bad.set()
            until = time.monotonic() + 60
            while writer.reconnected < 50 and time.monotonic() < until:
                time.sleep(0.05)
            bad.clear()
    log.info("%d records, back %d times", writer.acknowledged, writer.reconnected)
    assert writer.reconnected >= 10
    check_file(machine, writer)
    check_locks(machine, writer)
