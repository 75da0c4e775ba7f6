"""One store of each kind for the whole run, and one server of it for each worker; a test has a folder of its own."""

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import pytest

from tests.contrib import stores
from tests.contrib.stores import ABOVE, Store
from tests.support.processes import ServerProcess, shared_scratch


class Once:
    """What is made when it is first asked for, and lasts as long as the session.

    A fixture with parameters does not: it ends when a test has another parameter, and workers get tests in any order.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self._parts = contextlib.ExitStack()

    def get(self, key: Hashable, make: Callable[[], contextlib.AbstractContextManager[Any]]) -> Any:
        """What was made for this key."""
        if key not in self._made:
            self._made[key] = self._parts.enter_context(make())
        return self._made[key]

    def close(self) -> None:
        """End all of it, the last first."""
        self._parts.close()


@pytest.fixture(scope="session")
def once() -> Iterator[Once]:
    made = Once()
    yield made
    made.close()


@pytest.fixture(scope="session", params=stores.NAMES)
def store(request: pytest.FixtureRequest, once: Once) -> Store:
    """Each store that there is."""
    name = request.param
    if reason := stores.why_not(name):
        pytest.skip(reason)
    running: Store = once.get(name, lambda: stores.running(name))
    return running


@pytest.fixture(scope="session")
def top(store: Store, once: Once) -> str:
    """The folder of the store that the server shares; both users may write to it."""
    return str(once.get((store.name, "top"), lambda: contextlib.nullcontext(store.new_folder("share", 0o777))))


@pytest.fixture(scope="session")
def server(store: Store, top: str, once: Once) -> ServerProcess:
    """A server with the default chain as `share`, one with descriptors as `acls`, and maybe `snapshots`."""
    running: ServerProcess = once.get((store.name, "server"), lambda: _serving(store, top))
    return running


@contextlib.contextmanager
def _serving(store: Store, top: str) -> Iterator[ServerProcess]:
    shares = {"share": store.folder(top), "acls": store.folder(top, [ABOVE[0], ("acl_xattr", {}), ABOVE[1]])}
    if store.snapshot_provider:
        shares["snapshots"] = store.folder(top, [("shadow_copy", {"provider": store.snapshot_provider}), *ABOVE])
    with shared_scratch() as scratch, store.serving(shares, scratch / "state") as running:
        yield running


@pytest.fixture
def place(store: Store, top: str, request: pytest.FixtureRequest) -> str:
    """A folder for this test alone: its name in the shares; `top` and a slash before it on the store."""
    return store.new_folder(request.node.originalname, within=top)
