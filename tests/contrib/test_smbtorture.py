"""smbtorture on each store: some of each family that asks something of a backend; `torture` runs all of them."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.contrib import stores
from tests.contrib.conftest import Once
from tests.contrib.stores import Store
from tests.contrib.torture import FAMILIES, listed_for, run_test, serving
from tests.smbtorture import setup
from tests.smbtorture.catalogue import TortureTest, select, surprise
from tests.smbtorture.runner import SMBTORTURE, installed
from tests.support.processes import ServerProcess, shared_scratch

pytestmark = [
    pytest.mark.skipif(not installed(), reason=f"{SMBTORTURE} is not installed: apt install samba-testsuite"),
    pytest.mark.timeout(setup.TIMEOUT + 45),
]

SHARE = "share0"


@pytest.fixture(scope="session")
def tortured(store: Store, once: Once) -> tuple[ServerProcess, str]:
    """A server for smbtorture, and the folder of its share on the store."""
    server, roots = once.get((store.name, "torture"), lambda: _torturing(store))
    return server, roots[SHARE]


@contextlib.contextmanager
def _torturing(store: Store) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    with shared_scratch() as scratch, serving(store, scratch / "state") as running:
        yield running


def _parameters() -> list[object]:
    chosen = [(name, test) for name in stores.NAMES for test in select(listed_for(name), FAMILIES) if not test.slow]
    return [pytest.param(name, test, id=f"{name}-{test.name}") for name, test in chosen]


@pytest.mark.parametrize(("store", "test"), _parameters(), indirect=["store"], scope="session")
def test_smbtorture(store: Store, tortured: tuple[ServerProcess, str], test: TortureTest) -> None:
    server, root = tortured
    outcome = run_test(test, store, server, SHARE, root)
    unexpected = surprise(test, outcome)
    if not server.running():
        unexpected = f"{test.name}: the server ended: {server.log.read_text()[-2000:]}"
    assert not unexpected, f"{unexpected}\n{outcome.output[-6000:]}"
