"""Which worker serves a connection: that of its client's guid, so that all channels of a session meet in one.

A client that is new goes to the worker with the fewest connections, and is remembered after it has gone: what it left
open waits for it there. Pure.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection
from typing import Final

from lamina.core.workers.first_message import NO_GUID

REMEMBERED: Final = 100_000
"""Clients without a connection that are remembered, the last ones to be there."""


class Placement:
    """Where clients are. `workers`: the numbers of those that can take connections."""

    def __init__(self) -> None:
        self.workers: set[int] = set()
        self._load: Counter[int] = Counter()
        self._homes: OrderedDict[bytes, int] = OrderedDict()
        self._connections: Counter[bytes] = Counter()

    def place(self, guid: bytes) -> int | None:
        """The worker for a connection of this client, which is entered; None where there is no worker at all.

        That of a client whose worker has ended is the one that is to come in its place: there is what it left open.
        """
        home = self._homes.get(guid)
        if home is None:
            home = min(self.workers, key=lambda worker: (self._load[worker], worker), default=None)
        if home is None:
            return None
        self._load[home] += 1
        if guid != NO_GUID:
            self._homes[guid] = home
            self._homes.move_to_end(guid)
            self._connections[guid] += 1
            self._forget_some()
        return home

    def expect(self, guid: bytes, worker: int) -> None:
        """A client that was there before the start has something open on this worker, and is to find it there."""
        self._homes.setdefault(guid, worker)

    def leave(self, guid: bytes, worker: int) -> None:
        """A connection has ended."""
        self._load[worker] -= 1
        if guid in self._connections:
            self._connections[guid] -= 1
            if not self._connections[guid]:
                del self._connections[guid]

    def _forget_some(self) -> None:
        if len(self._homes) <= REMEMBERED + len(self._connections):
            return
        oldest = next((guid for guid in self._homes if guid not in self._connections), None)
        if oldest is not None:
            del self._homes[oldest]

    def ended(self, worker: int) -> None:
        """A worker is gone, with its connections."""
        self.workers.discard(worker)
        self._load.pop(worker, None)
        for guid in [guid for guid, home in self._homes.items() if home == worker]:
            self._connections.pop(guid, None)

    def loads(self) -> Collection[tuple[int, int]]:
        """The workers that take connections, and how many each has."""
        return [(worker, self._load[worker]) for worker in sorted(self.workers)]
