"""Every leaf test of `expected.tsv`; each worker has a server of its own, whose share is emptied before each test."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.smbtorture import setup
from tests.smbtorture.catalogue import TortureTest, load, surprise
from tests.smbtorture.runner import SMBTORTURE, installed, run
from tests.support.loop_filesystem import WHY_NOT, btrfs
from tests.support.processes import ServerProcess, serving, shared_scratch

pytestmark = [
    pytest.mark.skipif(not installed(), reason=f"{SMBTORTURE} is not installed: apt install samba-testsuite"),
    pytest.mark.timeout(setup.SLOW_TIMEOUT + 45),
]


class Servers:
    """One server for many tests; a new one where a test has made it end, so that one crash is one failure."""

    def __init__(self) -> None:
        self._parts = contextlib.ExitStack()
        self._server: ServerProcess | None = None

    def get(self) -> ServerProcess:
        if self._server is None or not self._server.running():
            self.close()
            folder = self._parts.enter_context(shared_scratch())
            self._parts.enter_context(btrfs(folder / "btrfs"))
            self._server = self._parts.enter_context(serving(setup.layout(folder), folder / "state"))
        return self._server

    def close(self) -> None:
        self._parts.close()
        self._server = None


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    owner = Servers()
    yield owner
    owner.close()


def _parameters() -> list[object]:
    return [pytest.param(test, id=test.name, marks=[pytest.mark.slow] if test.slow else []) for test in load()]


@pytest.mark.parametrize("test", _parameters())
def test_smbtorture(test: TortureTest, servers: Servers) -> None:
    server = servers.get()
    share = test.share or "share"
    if share == "btrfs" and share not in server.layout.shares:
        pytest.skip(WHY_NOT)
    setup.fresh(server, share)
    timeout = setup.SLOW_TIMEOUT if test.slow else setup.TIMEOUT
    outcome = run(test.name, share, setup.target(server), timeout, test.options)
    unexpected = surprise(test, outcome)
    if not server.running():
        unexpected = f"{test.name}: the server ended: {server.log.read_text()[-2000:]}"
    assert not unexpected, f"{unexpected}\n{outcome.output[-6000:]}"
