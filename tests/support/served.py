"""A server in this process, clients of it that say what a test wants, and the look for what they leave behind."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

import pytest

import lamina
from lamina.core.connection import Connection
from lamina.core.server_core import SmbServer
from tests.support.wire_client import ALL_DIALECTS, Open, WireClient

USER, PASSWORD = "ada", "engine"
SECOND_USER, SECOND_PASSWORD = "grace", "compiler"

GENERIC_ALL = 0x10000000
FILE_OPEN_IF = 3
FILE_OVERWRITE_IF = 5


class Served:
    """A running server, and clients of it that are closed with the test."""

    def __init__(self, server: lamina.Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._clients = contextlib.ExitStack()

    @property
    def core(self) -> SmbServer:
        return self.server.runtime.server

    @property
    def running(self) -> bool:
        """Whether the test has not closed the server itself."""
        try:
            return bool(self.server.runtime)
        except RuntimeError:
            return False

    def client(self, timeout: float = 20.0, client_guid: bytes = b"wire-client-guid") -> WireClient:
        """A connection on which nothing has been said."""
        return self._clients.enter_context(WireClient("127.0.0.1", self.server.port, timeout, client_guid))

    def negotiated(self, *dialects: int, **options: Any) -> WireClient:
        """A connection with a dialect, by default the highest."""
        client = self.client()
        client.negotiate(dialects or ALL_DIALECTS, **options)
        return client

    def logged_on(self, *dialects: int, user: str = USER, password: str = PASSWORD, **options: Any) -> WireClient:
        """A connection with a session."""
        client = self.negotiated(*dialects, **options)
        client.session_setup(user, password)
        return client

    def connected(self, *dialects: int, share: str = "data", **options: Any) -> WireClient:
        """A connection with a session and a tree."""
        client = self.logged_on(*dialects, **options)
        client.tree_connect(share)
        return client

    def bound(self, first: WireClient, user: str = USER, password: str = PASSWORD, **options: Any) -> WireClient:
        """Another connection for a client's session, with its tree: a channel."""
        client = self.client(client_guid=first.client_guid)
        client.negotiate((first.dialect,), **options)
        client.session_setup(user, password, bind=first.session)
        client.tree_id = first.tree_id
        return client

    def connection_of(self, client: WireClient) -> Connection:
        """The server's side of a client's connection."""
        port = client.socket.getsockname()[1]
        return next(one for one in self.core.connections if one.transport.peer[1] == port)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the server's event loop."""

        async def run() -> Any:
            return function()

        return self.on_loop(run())

    def on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.server.runtime.engine.loop).result(20)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition holds on the server's event loop."""

        async def wait() -> None:
            async with asyncio.timeout(6):
                while not condition():
                    await asyncio.sleep(0.002)

        self.on_loop(wait())

    def counts(self) -> dict[str, int]:
        return self.call(self.core.counts)

    def until_empty(self) -> None:
        """Wait until the server holds nothing of any client any more."""
        kinds = ("connections", "sessions", "trees", "opens", "requests")
        try:
            self.until(lambda: not any(self.core.counts()[kind] for kind in kinds) and not self._held_by_volumes())
        except TimeoutError:
            pytest.fail(f"left behind: {self.counts()}, files open: {self._held_by_volumes()}")

    def _held_by_volumes(self) -> int:
        """Files that are open beneath the protocol, the roots of the shares apart."""
        shares = (share for share in self.core.shares if share.volume is not None)
        return sum(share.volume.open_count() for share in shares if share.volume is not None)

    def disconnect(self) -> None:
        """Close all clients."""
        self._clients.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.disconnect()


def new_file(client: WireClient, name: str = "file", **options: Any) -> Open:
    """A file that may be read, written and locked."""
    return client.create(name, access=GENERIC_ALL, disposition=FILE_OPEN_IF, **options)
