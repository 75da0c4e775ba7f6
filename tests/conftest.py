"""What holds for all tests: nothing is skipped in CI, no unexpected error of a server goes unnoticed, what takes long
is started first, and where each is run."""

import logging
import os
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest

from tests.support.unexpected import Confessions

_confessions = Confessions()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--no-skips`: a skip is a failure; also where CI is set, where everything must be installed.

    `--in-guest`: what `tests/guest` asks for in its machine; also to be tried on a kernel that can do what they need.
    """
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failure (always so where CI is set)")
    parser.addoption("--in-guest", action="store_true", help="run the tests that are marked guest, on this kernel")


def pytest_configure(config: pytest.Config) -> None:
    """The mark of tests that run in the guest only."""
    config.addinivalue_line("markers", "guest: needs a kernel that few have; runs in tests/guest/test_guest.py")
    config.addinivalue_line("markers", "provokes_bugs: has Lamina fail in a way that it does not expect")
    logging.getLogger().addHandler(_confessions)


@pytest.fixture(autouse=True)
def _nothing_unexpected(request: pytest.FixtureRequest) -> Iterator[None]:
    """A server in this process says so where it meets an error that it did not expect: the test fails."""
    yield
    seen = _confessions.take()
    if request.node.get_closest_marker("provokes_bugs") is None:
        assert not seen, "\n".join(seen)


def _skips_fail(config: pytest.Config) -> bool:
    return bool(config.getoption("--no-skips")) or os.environ.get("CI", "") not in {"", "0", "false"}


_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)
_Wrapper = Generator[None, _Report, _Report]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> _Wrapper[pytest.TestReport]:
    """Turn a skip into a failure that says what would have been skipped and why. Known failures stay what they are."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _skips_fail(item.config):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped here, but this was: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> _Wrapper[pytest.CollectReport]:
    """The same for a whole file that skips itself, by `importorskip` or at its top."""
    report = yield
    if report.skipped and _skips_fail(collector.config):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped here, but this file was: {reason}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked guest runs in the guest, and nothing else there. Slow tests are begun first, by all workers."""
    inside = bool(config.getoption("--in-guest"))
    elsewhere = [item for item in items if (item.get_closest_marker("guest") is not None) is not inside]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]
    items[:] = _slow_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _slow_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """In an order in which each worker, who begins with as many neighbours as the others, has slow ones before him."""
    slow = [item for item in items if item.get_closest_marker("slow") is not None]
    quick = [item for item in items if item.get_closest_marker("slow") is None]
    ordered, size = [], -(-len(items) // workers)
    for worker in range(workers):
        own = slow[worker::workers]
        share, quick = quick[: size - len(own)], quick[size - len(own) :]
        ordered += [*own, *share]
    return ordered + quick
