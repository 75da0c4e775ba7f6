"""A server of two workers."""

from collections.abc import Iterator

import pytest

from tests.support.crew import Crew
from tests.support.processes import (
    Folder,
    Layout,
    ServerProcess,
    User,
    empty,
    owned_folder,
    serving,
    shared_scratch,
    two_users,
)


@pytest.fixture(scope="session")
def _served() -> Iterator[ServerProcess]:
    with shared_scratch() as scratch:
        users = (*two_users("lamina"), User("admin", "Lamina-Admin-1", groups=("administrators",)))
        folder = Folder(str(owned_folder(scratch / "share", users[0])))
        quiet = Folder(folder.path, options={"change_notify": "share"})
        layout = Layout({"share": folder, "quiet": quiet}, users, workers=2)
        with serving(layout, scratch / "state", "lamina") as server:
            yield server


@pytest.fixture
def crew(_served: ServerProcess) -> Iterator[Crew]:
    made = Crew(_served)
    yield made
    made.disconnect()
    empty(made.folder)
