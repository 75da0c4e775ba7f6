"""One store of each kind for the whole run, and one server of it for each worker; a test has a folder of its own."""

from collections.abc import Iterator

import pytest

from tests.contrib import stores
from tests.contrib.stores import ABOVE, Store
from tests.support.processes import ServerProcess, shared_scratch


@pytest.fixture(scope="session", params=stores.NAMES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each store that there is."""
    if reason := stores.why_not(request.param):
        pytest.skip(reason)
    with stores.running(request.param) as running:
        yield running


@pytest.fixture(scope="session")
def top(store: Store) -> str:
    """The folder of the store that the server shares; both users may write to it."""
    return store.new_folder("share", 0o777)


@pytest.fixture(scope="session")
def server(store: Store, top: str) -> Iterator[ServerProcess]:
    """A server with the default chain as `share`, one with descriptors as `acls`, and maybe `snapshots`."""
    shares = {
        "share": store.folder(top),
        "acls": store.folder(top, [ABOVE[0], ("acl_xattr", {}), ABOVE[1]]),
    }
    if store.snapshot_provider:
        shares["snapshots"] = store.folder(top, [("shadow_copy", {"provider": store.snapshot_provider}), *ABOVE])
    with shared_scratch() as scratch, store.serving(shares, scratch / "state") as running:
        yield running


@pytest.fixture
def place(store: Store, top: str, request: pytest.FixtureRequest) -> str:
    """A folder for this test alone: its name in the shares; `top` and a slash before it on the store."""
    return store.new_folder(request.node.originalname, within=top)
