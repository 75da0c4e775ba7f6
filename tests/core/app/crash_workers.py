"""Workers of a server, and now and then all of it, are killed while clients write over persistent opens.

`python -m tests.core.app.crash_workers 50` does so fifty times, and says with which seed. What was acknowledged must be
there once and whole, and no lock too many.
"""

import argparse
import contextlib
import logging
import random
import secrets
import tempfile
import time
from pathlib import Path
from typing import Final

from lamina.core.workers.recovering import home_of
from tests.core.app.folder_machine import USER, FolderMachine
from tests.support.persistent_writer import PersistentWriter, connecting, writing

log = logging.getLogger(__name__)

WORKERS: Final = 2
GUIDS: Final = (b"persistent guid ", b"persistent guid2")
"""Clients that come to different workers after a restart."""

_WHOLE: Final = 0.3
"""How often it is the whole server that is killed."""


def crash(machine: FolderMachine, crashes: int, seed: int) -> list[PersistentWriter]:
    """Kill something so many times while a client of each worker writes; what they have written."""
    assert {home_of(guid, WORKERS) for guid in GUIDS} == {1, 2}
    chance = random.Random(seed)
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(writing(connecting(USER, lambda: machine.port, 20.0, guid=guid), f"records {number}"))
            for number, guid in enumerate(GUIDS)
        ]
        for _ in range(crashes):
            # Mostly while records are written, sometimes while clients come back, or before.
            if chance.random() < 0.7:
                chance.choice(writers).wait_for(chance.randrange(1, 20))
            time.sleep(0.05 * chance.random())
            _kill(machine, chance)
    for writer in writers:
        log.info("%d records, back %d times", writer.acknowledged, writer.reconnected)
    return writers


def _kill(machine: FolderMachine, chance: random.Random) -> None:
    fate = chance.random()
    if fate > _WHOLE:
        log.info("a worker is killed")
        with contextlib.suppress(KeyError):
            # One that is being started again has no number yet.
            machine.crash_workers([chance.randint(1, WORKERS)])
    elif fate > _WHOLE / 2:
        log.info("all processes are killed")
        machine.crash_workers()
        machine.start()
    else:
        log.info("the supervisor is killed")
        # The workers end by themselves, while the next are there already.
        machine.crash()
        machine.start()


def main() -> None:
    """Do so as often as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.app.crash_workers", description=__doc__)
    parser.add_argument("crashes", type=int, nargs="?", default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    log.info("seed %d", options.seed)
    with tempfile.TemporaryDirectory() as folder:
        machine = FolderMachine(Path(folder), WORKERS)
        machine.start()
        try:
            for writer in crash(machine, options.crashes, options.seed):
                machine.check(writer)
            machine.stop()
            assert machine.records() == 0
        except BaseException:
            log.info("the server says:\n%s", (machine.folder / "lamina.log").read_text())
            raise
        finally:
            machine.stop()


if __name__ == "__main__":
    main()
