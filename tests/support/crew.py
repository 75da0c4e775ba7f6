"""A server of several workers in processes of its own, and clients of it in a worker that the test knows."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from lamina.ntfsa.workers.numbers import worker_of
from tests.support.processes import ServerProcess
from tests.support.wire_client import ALL_DIALECTS, WireClient

SECONDS = 30.0


class Crew:
    """The server and its clients. Each client with a guid of its own; the first two are in different workers."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self._clients = contextlib.ExitStack()
        self._guids = 0

    @property
    def folder(self) -> Path:
        return self.server.folder()

    def pids(self) -> dict[int, int]:
        return {int(number): pid for number, pid in self.server.ask("workers").items()}

    def client(self, guid: bytes = b"", **options: Any) -> WireClient:
        """A client that has connected the share."""
        self._guids += 1
        guid = guid or os.urandom(16)
        kind = options.pop("kind", WireClient)
        client: WireClient = self._clients.enter_context(kind("127.0.0.1", self.server.port, SECONDS, guid))
        if options.pop("by_smb1", False):
            client.negotiate_smb1()
        client.negotiate(ALL_DIALECTS, contexts=options.pop("contexts", None))
        user = self.server.user
        client.session_setup(user.name, user.password, **options)
        if not options.get("bind"):
            client.tree_connect("share")
        return client

    def in_each(self, **options: Any) -> tuple[WireClient, WireClient]:
        """Two clients in different workers."""
        one = other = self.client(**options)
        if self.server.layout.workers == 1:
            return one, self.client(**options)
        # Each goes where the fewest connections are, and those of the last test may not all have gone.
        for _ in range(20):
            if worker(one) != worker(other):
                return one, other
            other = self.client(**options)
        raise AssertionError("all clients are in one worker")

    def kill(self, number: int) -> None:
        """End a worker as a crash would, and wait until another has its place."""
        pid = self.pids()[number]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + SECONDS
        while self.pids().get(number, pid) == pid and time.monotonic() < deadline:
            os.sched_yield()

    def crash(self) -> None:
        """End all processes of the server at once, and lose the clients."""
        pids = [*self.pids().values(), self.server.process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.server.process.wait()
        self.disconnect()

    def disconnect(self) -> None:
        self._clients.close()


def worker(client: WireClient) -> int:
    """The worker that a client's session is in."""
    assert client.session is not None
    return worker_of(client.session.session_id)
