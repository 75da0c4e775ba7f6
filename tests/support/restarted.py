"""A server that is started again after it was killed or stopped: on its port, with its shares and store of opens."""

from pathlib import Path

from lamina.vfs_modules.stock.persisting.record_store import RecordStore
from tests.support.processes import Layout, ServerProcess, free_port, start_lamina


class Machine:
    """What is the same each time it is started. `store`: the file of its `persistent_store`."""

    def __init__(self, layout: Layout, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store
        self.port = free_port()
        self._layout = layout
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
