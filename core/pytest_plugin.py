"""The pytest plugin: a real SMB server as a fixture. Installed with Lamina, loaded by pytest itself.

Nothing of the server is imported until a test asks for a fixture: a test suite that does not use it pays nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lamina.core.server import Server
    from lamina.core.smb_fixture import SmbServerFixture


@pytest.fixture
def lamina_server_factory(tmp_path: Path) -> Iterator[Callable[..., "Server"]]:
    """A function that starts servers, with the arguments of `lamina.Server`; they end with the test.

    Without `shares` one named "share" is served from a new folder under `tmp_path`.
    """
    from lamina.core.server import Server

    servers: list[Server] = []

    def make(shares: Any = None, **arguments: Any) -> "Server":
        if shares is None:
            folder = tmp_path / f"share{len(servers) or ''}"
            folder.mkdir(exist_ok=True)
            shares = {"share": folder}
        server = Server(shares, **arguments).start()
        servers.append(server)
        return server

    yield make
    for server in reversed(servers):
        server.close()


@pytest.fixture
def lamina_server(lamina_server_factory: Callable[..., "Server"]) -> "Server":
    """A running SMB server with one share, "share", on the folder `tmp_path / "share"`.

    Use its `.address`, `.port`, `.username`, `.password`, `.url("share")`.
    """
    return lamina_server_factory()


@pytest.fixture
def smb_server(tmp_path: Path) -> "Iterator[SmbServerFixture]":
    """A running SMB server, of which a test asks for shares, and tells them to fail.

    `data = smb_server.share("data", faults=[…])` shares the folder `data.folder`; `data.faults.inject(…)` lets
    something fail from then on, and `data.faults.injected` says what has.
    """
    from lamina.core.smb_fixture import SmbServerFixture

    server = SmbServerFixture(tmp_path)
    yield server
    server.close()
