"""What workers tell each other of changes: letters in a box of its own, that is read whenever it must be known.

A letter that something begins is written before it is done, and that it has ended after it. So whoever has seen a
change in the file system finds the letter that it belongs to in the box; and who finds the letter that something has
ended, finds in the file system all that it has changed. `read` looks at both until neither has more to say.

Somebody who is about to change a name writes that only where nothing has come meanwhile, in one step: of two workers
one is the first, and the other knows of it. So it is one at a time at each name, as it is in one process (see
`name_changes`).
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.notify.foreign_changes import ForeignChanges
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.workers.shared_state import Letter, SharedState

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume

log = logging.getLogger(__name__)

_ROUNDS: Final = 100
_SECONDS_UNTIL_ROOM: Final = 1.0


class SharedChanges:
    """The box of this worker. Letters are: kind, share, the number of the worker that has written it, and more.

    `volumes_of`: the volumes of a share that are there.
    """

    def __init__(self, state: SharedState, volumes_of: "Callable[[str], Iterable[NtVolume]]") -> None:
        self._state = state
        self._volumes_of = volumes_of
        self._reading = False
        # A worker that is started again must not be taken for its own dead.
        self._numbers = itertools.count(time.monotonic_ns())

    def new_number(self) -> int:
        """For something that is done, never used again."""
        return next(self._numbers)

    def post(self, workers: Iterable[int], letter: Letter, ring: bool = True) -> None:
        """Put a letter into the boxes of workers; `ring`: for them to read it now, whatever else they do."""
        with self._state.changing(self._state.changes) as step:
            for worker in workers:
                self._state.put_letter(step, worker, letter, self._state.changes, ring)

    def post_for_certain(self, workers: Iterable[int], letter: Letter) -> None:
        """Put a letter into the boxes of workers, later where there is no room for it now: somebody waits for it."""
        try:
            self.post(workers, letter)
        except NtStatusError as error:
            log.warning("what has changed is told later: %s", error)
            asyncio.get_running_loop().call_later(_SECONDS_UNTIL_ROOM, self.post_for_certain, workers, letter)

    def post_first(self, workers: Iterable[int], letter: Letter) -> bool:
        """Put a letter into the boxes of workers, if this one's is empty; else read what is in it, and say False."""
        with self._state.changing(self._state.changes) as step:
            first = not self._state.has_letters(step.transaction, self._state.changes)
            for worker in workers if first else ():
                self._state.put_letter(step, worker, letter, self._state.changes, False)
        if not first:
            self.read()
        return first

    def _take(self) -> list[Letter]:
        with self._state.reading(self._state.changes) as transaction:
            if not self._state.has_letters(transaction, self._state.changes):
                return []
        return self._state.collect(self._state.changes)

    def read(self) -> bool:
        """Read what has come, and tell those who watch. False where that is being done already."""
        if self._reading:
            return False
        letters = self._take()
        if letters:
            self._reading = True
            try:
                self._read(letters)
            finally:
                self._reading = False
        return True

    def _read(self, letters: list[Letter]) -> None:
        concerned: dict[str, list[ForeignChanges]] = {}
        new = letters
        # Others may never be silent: then something of theirs is taken for that of a local program at last.
        for more in range(_ROUNDS, 0, -1):
            self._announce(new, concerned)
            for foreign in itertools.chain.from_iterable(concerned.values()):
                foreign.gather()
            new = self._take() if more > 1 else []
            if not new:
                break
            letters += new
        for foreign in itertools.chain.from_iterable(concerned.values()):
            foreign.offer_gathered()
        for kind, share, *what in letters:
            for foreign in concerned[share]:
                foreign.settle(kind, *what)

    def _announce(self, letters: list[Letter], concerned: dict[str, list[ForeignChanges]]) -> None:
        for kind, share, *what in letters:
            if share not in concerned:
                volumes = self._volumes_of(share)
                concerned[share] = [volume.peers.foreign for volume in volumes if volume.peers is not None]
            for foreign in concerned[share]:
                foreign.announce(kind, *what)
