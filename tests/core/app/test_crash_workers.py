"""What was acknowledged over persistent opens is there once, whichever process of a server of several is killed."""

import logging
import secrets
from pathlib import Path

import pytest

from tests.core.app.crash_workers import WORKERS, crash
from tests.core.app.folder_machine import FolderMachine

log = logging.getLogger(__name__)

CRASHES = 5
"""`python -m tests.core.app.crash_workers` kills more."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_and_servers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    log.info("seed %d", seed)
    machine = FolderMachine(tmp_path, WORKERS)
    machine.start()
    try:
        writers = crash(machine, CRASHES, seed)
        for writer in writers:
            machine.check(writer)
        machine.stop()
        assert machine.records() == 0
    finally:
        machine.stop()
