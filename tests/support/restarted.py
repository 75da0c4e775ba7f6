"""A server that is started again after it was killed or stopped: on its port, with its shares and store of opens."""

import contextlib
import os
import signal
from collections.abc import Collection
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

    def crash_workers(self, numbers: Collection[int] = ()) -> None:
        """The same for some of its worker processes; without numbers for all of them, and the server with them."""
        assert self._process is not None
        pids = {int(number): pid for number, pid in self._process.ask("workers").items()}
        for number in numbers or pids:
            # One that has just ended may still be among them.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[number], signal.SIGKILL)
        if not numbers:
            self.crash()

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
