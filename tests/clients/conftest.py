"""One server for each worker, with a share of every kind; each test has a folder of its own in it."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Folder, Layout, ServerProcess, owned_folder, serving, shared_scratch, two_users

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A server with the shares `share`, `readonly` (of the same folder) and `encrypted`, and two users."""
    users = two_users()
    with shared_scratch() as scratch:
        folder = str(owned_folder(scratch / "share", users[0]))
        secret = str(owned_folder(scratch / "secret", users[0]))
        shares = {
            "share": Folder(folder),
            "readonly": Folder(folder, read_only=True),
            "encrypted": Folder(secret, encrypt=True),
        }
        with serving(Layout(shares, users), scratch / "state") as running:
            yield running


@pytest.fixture
def place(server: ServerProcess, request: pytest.FixtureRequest) -> Path:
    """A new folder in `share` for this test alone; its name is the path within the share."""
    name = re.sub(r"\W+", "-", request.node.name)[:40].strip("-")
    return owned_folder(server.folder() / f"{name}-{next(_numbers)}", server.user)
