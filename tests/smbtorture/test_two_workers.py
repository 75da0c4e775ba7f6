"""What smbtorture says of a server of two processes: the families in which clients meet, at one file or one session.

smbtorture gives each connection a client guid of its own unless a test wants it otherwise, so that two connections of
a test are in two workers. `python -m tests.smbtorture --workers 2` runs all there is.
"""

from collections.abc import Iterator

import pytest

from tests.smbtorture import setup
from tests.smbtorture.catalogue import TortureTest, load, select, surprise
from tests.smbtorture.runner import SMBTORTURE, installed, run
from tests.support.processes import ServerProcess, serving, shared_scratch

pytestmark = [
    pytest.mark.skipif(not installed(), reason=f"{SMBTORTURE} is not installed: apt install samba-testsuite"),
    pytest.mark.timeout(setup.SLOW_TIMEOUT + 45),
]

FAMILIES = (
    "smb2.sharemode",
    "smb2.deny",
    "smb2.lock",
    "smb2.rename",
    "smb2.delete-on-close-perms",
    "smb2.durable-v2-open",
    "smb2.notify",
    "smb2.session",
    "smb2.kernel-oplocks",
)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    with shared_scratch() as folder, serving(setup.layout(folder, workers=2), folder / "state") as started:
        yield started


def _parameters() -> list[object]:
    quick = [test for test in select(load(), FAMILIES) if not test.slow and test.expect == "pass"]
    return [pytest.param(test, id=test.name) for test in quick if test.share in ("", "persistent", "local_programs")]


@pytest.mark.parametrize("test", _parameters())
def test_two_workers(test: TortureTest, server: ServerProcess) -> None:
    share = test.share or "share"
    setup.fresh(server, share)
    outcome = run(test.name, share, setup.target(server), setup.TIMEOUT, test.options)
    unexpected = surprise(test, outcome)
    assert not unexpected, f"{unexpected}\n{outcome.output[-4000:]}"
