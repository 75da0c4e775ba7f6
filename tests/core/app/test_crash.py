"""What was acknowledged over a persistent open is there once and whole, however the server or the network fails."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.app.folder_machine import USER, FolderMachine
from tests.support.persistent_writer import SLOTS, connecting, writing
from tests.support.proxy import Fate, Link, Proxy, Way

log = logging.getLogger(__name__)

CRASHES = 50


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FolderMachine]:
    machine = FolderMachine(tmp_path)
    machine.start()
    yield machine
    machine.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_killed_again_and_again_loses_nothing(machine: FolderMachine) -> None:
    seed = random.randrange(1 << 32)
    log.info("seed %d", seed)
    chance = random.Random(seed)
    with writing(connecting(USER, lambda: machine.port, 20.0)) as writer:
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
    machine.check(writer)
    machine.stop()
    assert machine.records() == 0
    machine.start()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_network_that_cuts_tears_drops_and_delays_loses_nothing(machine: FolderMachine) -> None:
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
        with writing(connecting(USER, lambda: proxy.port, 0.5)) as writer:
            bad.set()
            until = time.monotonic() + 60
            while writer.reconnected < 50 and time.monotonic() < until:
                time.sleep(0.05)
            bad.clear()
    log.info("%d records, back %d times", writer.acknowledged, writer.reconnected)
    assert writer.reconnected >= 10
    machine.check(writer)
