"""A client that is root on the share of one server or the other, to see what each makes of one folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import Layout, User, serving
from tests.support.wire_client import WireClient

ROOT = User("root", "Lamina-1234", 0, 0, groups=("administrators",))


@contextlib.contextmanager
def client_of(layout: Layout, state: Path, kind: str) -> Iterator[WireClient]:
    """A client of "share" of a server of that kind, which runs for the time of the with block."""
    with serving(layout, state, kind) as server, WireClient(server.host, server.port) as client:
        client.negotiate()
        client.session_setup(ROOT.name, ROOT.password)
        client.tree_connect("share")
        yield client
