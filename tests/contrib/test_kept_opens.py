"""Opens that outlive connections and servers, on each store: with the same promises as on a folder of the machine."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.core.wire.durable_contexts import DHANDLE_FLAG_PERSISTENT
from tests.contrib.stores import ABOVE, Store
from tests.support.durable import asked_v2, back_v2, leased
from tests.support.granted import RWH
from tests.support.persistent_writer import SLOTS, PersistentWriter, check_locks, connecting, slots_of, writing
from tests.support.processes import User
from tests.support.restarted import Machine
from tests.support.wire_client import Open, WireClient

CRASHES = 6
GENERIC_ALL = 0x10000000


class StoreMachine(Machine):
    """A server of one folder of a store, with what it keeps."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.root = store.new_folder("kept")
        self._on = store
        records_at = folder / "opens.db"
        above = [("persistent_store", {"path": str(records_at)}), ("durable", {}), *ABOVE]
        shares = {"data": store.folder(self.root, above)}
        layout = store.layout(shares, machine_sid="S-1-5-21-1-2-3", state=str(folder / "kept"))
        super().__init__(layout, folder, records_at)

    @property
    def user(self) -> User:
        return self._on.users[0]

    def check(self, writer: PersistentWriter) -> None:
        """All that was acknowledged is on the store, and nothing else; no lock was left."""
        assert slots_of(self._on.view.read(f"{self.root}/{writer.name}")) == writer.expected_slots()
        check_locks(connecting(self.user, lambda: self.port, 30.0), writer)


@pytest.fixture
def machine(store: Store, tmp_path: Path) -> Iterator[StoreMachine]:
    machine = StoreMachine(store, tmp_path)
    machine.start()
    yield machine
    machine.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_that_is_killed_again_and_again_loses_nothing(machine: StoreMachine) -> None:
    chance = random.Random(7)
    with writing(connecting(machine.user, lambda: machine.port, 30.0)) as writer:
        for _ in range(CRASHES):
            writer.wait_for(chance.randrange(1, 20))
            time.sleep(0.05 * chance.random())
            machine.crash()
            machine.start()
        writer.wait_for(2 * SLOTS)
    assert writer.reconnected > CRASHES // 2
    machine.check(writer)
    machine.stop()
    assert machine.records() == 0
    machine.start()


@pytest.mark.parametrize("flags", [0, DHANDLE_FLAG_PERSISTENT], ids=["durable", "persistent"])
def test_an_open_is_given_back_when_its_connection_is_lost(machine: StoreMachine, flags: int) -> None:
    connect = connecting(machine.user, lambda: machine.port, 30.0)
    client, file = _open(connect, flags)
    client.write(file, b"before")
    assert client.session is not None
    lost = client.session.session_id
    client.disconnect()
    _goes_on(connect(lost), file, flags)


def test_a_persistent_open_is_given_back_when_the_server_was_started_again(machine: StoreMachine) -> None:
    connect = connecting(machine.user, lambda: machine.port, 30.0)
    client, file = _open(connect, DHANDLE_FLAG_PERSISTENT)
    client.write(file, b"before")
    assert client.session is not None
    lost = client.session.session_id
    machine.stop()
    client.disconnect()
    machine.start()
    _goes_on(connect(lost), file, DHANDLE_FLAG_PERSISTENT)


def _open(connect: Callable[[int], WireClient], flags: int) -> tuple[WireClient, Open]:
    client = connect(0)
    contexts = asked_v2(flags=flags) | leased(RWH)
    return client, client.create("file", access=GENERIC_ALL, disposition=3, oplock_level=0xFF, contexts=contexts)


def _goes_on(client: WireClient, file: Open, flags: int) -> None:
    """The open is there again, and the file as it was left."""
    with client:
        contexts = back_v2(file, flags=flags) | leased(RWH)
        back = client.create("file", access=GENERIC_ALL, disposition=1, oplock_level=0xFF, contexts=contexts)
        client.write(back, b", after", 6)
        assert client.read(back, 100) == b"before, after"
        client.close(back)
