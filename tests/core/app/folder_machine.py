"""A server of one folder whose opens are kept, for tests that kill it."""

from pathlib import Path
from typing import Final

from lamina.core.plan import DEFAULT_CHAIN
from tests.support.persistent_writer import PersistentWriter, check_locks, connecting, slots_of
from tests.support.processes import Folder, Layout, User
from tests.support.restarted import Machine

USER: Final = User("ada", "engine")


class FolderMachine(Machine):
    """A server of so many workers and one folder, whose opens are kept."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        (folder / "data").mkdir()
        store = folder / "opens.db"
        chain = [("persistent_store", {"path": str(store)}), ("durable", {})]
        chain += [(str(name), {}) for name in DEFAULT_CHAIN]
        share = Folder(str(folder / "data"), chain=chain)
        layout = Layout({"data": share}, [USER], machine_sid="S-1-5-21-1-2-3", workers=workers)
        super().__init__(layout, folder, store)

    def check(self, writer: PersistentWriter) -> None:
        """All that was acknowledged is there, and nothing else; no lock was left."""
        assert slots_of((self.folder / "data" / writer.name).read_bytes()) == writer.expected_slots()
        check_locks(connecting(USER, lambda: self.port, 20.0), writer)
