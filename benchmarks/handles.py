"""What durability costs an open: `python -m benchmarks.handles [--rounds 100]`.

A server in this process, a client beside it: processor time of the server's thread for an open and a close, in turn
with and without a promise, so that all have the same weather. A durable open needs a batch oplock or a lease, and is
compared with one that has just that.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

import lamina
from lamina.core.wire.create_contexts import (
    DURABLE_HANDLE_REQUEST_V2,
    REQUEST_LEASE,
    LeaseContext,
    encode_lease,
)
from lamina.core.wire.durable_contexts import DurableRequestV2, encode_durable_request_v2
from lamina.ntfsa.constants import FILE_OPEN_IF
from lamina.ntfsa.grants.caching import ANY_CACHING, OPLOCK_LEVEL_BATCH, OPLOCK_LEVEL_LEASE, OPLOCK_LEVEL_NONE
from tests.support.wire_client import WireClient

USER, PASSWORD = "ada", "engine"
GENERIC_ALL = 0x10000000
PAIRS = 50


class Kind(NamedTuple):
    """A way to open a file, and what it is compared with ("": nothing)."""

    level: int
    lease: bool = False
    durable: bool = False
    beside: str = ""

    def contexts(self, guid: bytes) -> Mapping[bytes, bytes]:
        """The create contexts of one open."""
        contexts = {}
        if self.lease:
            contexts[REQUEST_LEASE] = encode_lease(LeaseContext(guid, ANY_CACHING, version=2))
        if self.durable:
            contexts[DURABLE_HANDLE_REQUEST_V2] = encode_durable_request_v2(DurableRequestV2(guid))
        return contexts


KINDS = {
    "plain": Kind(OPLOCK_LEVEL_NONE),
    "batch oplock": Kind(OPLOCK_LEVEL_BATCH),
    "batch oplock, durable": Kind(OPLOCK_LEVEL_BATCH, durable=True, beside="batch oplock"),
    "lease": Kind(OPLOCK_LEVEL_LEASE, lease=True),
    "lease, durable": Kind(OPLOCK_LEVEL_LEASE, lease=True, durable=True, beside="lease"),
}


class Bench:
    """A client, and the clock of the server's thread."""

    def __init__(self, client: WireClient, thread: threading.Thread) -> None:
        self._client = client
        assert thread.ident is not None
        self._clock = time.pthread_getcpuclockid(thread.ident)
        self._serial = 0

    def run(self, kind: Kind) -> float:
        """Open and close PAIRS times; microseconds of the server's for each pair."""
        began = time.clock_gettime(self._clock)
        for _ in range(PAIRS):
            self._serial += 1
            guid = self._serial.to_bytes(16, "little")
            self._client.close(
                self._client.create(
                    "file",
                    access=GENERIC_ALL,
                    disposition=FILE_OPEN_IF,
                    oplock_level=kind.level,
                    contexts=kind.contexts(guid),
                )
            )
        return (time.clock_gettime(self._clock) - began) / PAIRS * 1e6


def main() -> None:
    """Print the median of each kind, and what the promise adds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handles", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    before = set(threading.enumerate())
    with tempfile.TemporaryDirectory() as folder, lamina.Server({"data": folder}, users={USER: PASSWORD}) as server:
        thread = next(thread for thread in threading.enumerate() if thread not in before)
        with WireClient("127.0.0.1", server.port) as client:
            client.negotiate()
            client.session_setup(USER, PASSWORD)
            client.tree_connect("data")
            bench = Bench(client, thread)
            taken: dict[str, list[float]] = {name: [] for name in KINDS}
            for _ in range(rounds):
                for name, kind in KINDS.items():
                    taken[name].append(bench.run(kind))
    for name, kind in KINDS.items():
        # Each is compared with its neighbour in time.
        ratios = [after / before for after, before in zip(taken[name], taken[kind.beside or name], strict=True)]
        more = f"  {statistics.median(ratios) - 1:+.1%}" if kind.beside else ""
        print(f"{name:24}{statistics.median(taken[name]):>8.1f} µs{more}")


if __name__ == "__main__":
    main()
