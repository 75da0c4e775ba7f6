"""What the server does for every module: log, metrics, events, health."""

import logging
import threading

import pytest

from lamina.vfs_modules.chain import ShareInfo, build_chain
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.services import HealthState, MetricSample
from lamina.vfs_modules.services.surroundings import Surroundings
from lamina.vfs_modules.stock.memory import MemoryBackend


class Scanner(VfsModule):
    name = "scanner"


class World:
    """A chain with two modules of one name, and what they announce."""

    def __init__(self):
        self.told = []
        around = Surroundings(lambda kind, details: self.told.append((kind, dict(details))))
        self.first, self.second = Scanner(), Scanner()
        self.chain = build_chain(
            [self.first, self.second, MemoryBackend()], ShareInfo("data", "/nowhere", surroundings=around)
        )


@pytest.fixture
def world():
    return World()


def test_a_message_says_of_which_share_and_module_it_is(world, caplog):
    with caplog.at_level(logging.INFO, "lamina.module"):
        world.first.log.warning("a file was refused", path="a\nb", size=3)
    (record,) = caplog.records
    assert record.name == "lamina.module.scanner"
    assert record.getMessage() == "share data: a file was refused (path='a\\nb', size=3)"
    assert record.fields == {"share": "data", "module": "scanner", "path": "a\nb", "size": 3}


def test_an_exception_is_logged_with_its_traceback(world, caplog):
    try:
        raise OSError("gone")
    except OSError:
        world.first.log.exception("it failed")
    assert "OSError: gone" in caplog.text


def test_the_second_module_of_a_name_has_a_number(world, caplog):
    world.second.log.error("here")
    assert caplog.records[0].fields["module"] == "scanner#2"
    assert (world.first.title, world.second.title) == ("scanner", "scanner#2")


def test_a_module_without_a_name_is_called_as_its_class():
    class Unnamed(VfsModule):
        pass

    assert Unnamed().title.endswith("Unnamed")


def test_health_is_well_until_something_else_is_said_and_each_change_is_announced_once(world, caplog):
    health = world.first.health
    assert health.current.state is HealthState.OK
    health.ok()
    health.failed("clamd does not answer")
    health.failed("clamd does not answer")
    assert (health.current.state, health.current.reason) == (HealthState.FAILED, "clamd does not answer")
    health.degraded("clamd is slow")
    with caplog.at_level(logging.INFO):
        health.ok()
    assert [(kind, details["state"], details["before"], details["reason"]) for kind, details in world.told] == [
        ("module.health", "failed", "ok", "clamd does not answer"),
        ("module.health", "degraded", "failed", "clamd is slow"),
        ("module.health", "ok", "degraded", ""),
    ]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "INFO"]
    assert "share data: the module has failed: clamd does not answer" in caplog.messages


def test_an_event_has_the_share_and_the_module(world):
    world.second.announce("scanner.found", name="eicar")
    assert world.told == [("scanner.found", {"share": "data", "module": "scanner#2", "name": "eicar"})]


def test_outside_a_chain_nobody_is_told_and_nothing_breaks(caplog):
    module = Scanner()
    module.announce("scanner.found")
    module.health.failed("not yet")
    assert "share -: the module has failed: not yet" in caplog.messages


def test_counters_gauges_and_histograms_are_sampled_by_name():
    metrics = Scanner().metrics
    metrics.counter("scans", "files looked at").add()
    metrics.counter("scans", "files looked at").add(2)
    metrics.gauge("waiting", "files that wait").set(7)
    metrics.gauge("waiting", "files that wait").add(-1)
    seconds = metrics.histogram("seconds", "time of a scan", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 9):
        seconds.observe(value)
    inf = float("inf")
    assert metrics.samples() == [
        MetricSample("scans", "counter", "files looked at", 3),
        MetricSample("seconds", "histogram", "time of a scan", 9.65, 4, ((0.1, 2), (1.0, 3), (inf, 4))),
        MetricSample("waiting", "gauge", "files that wait", 6),
    ]


@pytest.mark.parametrize("name", ["", "Files", "files-1", "1st", "x" * 64])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="no name of a metric"):
        Scanner().metrics.counter(name, "")


def test_what_makes_no_sense_is_refused():
    metrics = Scanner().metrics
    metrics.counter("scans", "")
    with pytest.raises(ValueError, match="scans is a counter already"):
        metrics.gauge("scans", "")
    with pytest.raises(ValueError, match="less than nothing"):
        metrics.counter("scans", "").add(-1)
    with pytest.raises(ValueError, match="must rise"):
        metrics.histogram("seconds", "", (1.0, 1.0))


def test_metrics_are_bounded():
    metrics = Scanner().metrics
    for number in range(100):
        metrics.counter(f"c{number}", "")
    with pytest.raises(ValueError, match="are enough"):
        metrics.counter("more", "")


def test_threads_count_together():
    counter = Scanner().metrics.counter("scans", "")
    threads = [threading.Thread(target=lambda: [counter.add() for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 8000


def test_what_is_not_used_is_not_made(world):
    assert not {"log", "metrics", "health", "storage"} & vars(world.first).keys()
