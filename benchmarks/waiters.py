"""What a read costs while others wait: `python -m benchmarks.waiters [--waiters 1000]`.

A server of its own is asked for 4 KiB reads, as in `read4k`, in turn with nobody waiting, with requests parked on
breaks of oplocks, on byte-range locks and on changes in a folder, a third of each, and with all of them parked on
locks of the very file that is read. The medians of the server's CPU time for one read should be the same.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.cases import Case
from benchmarks.measure import MeasureError, build_generator, measure
from benchmarks.servers import SHARE, Server, make_folder, start_lamina
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.ntfsa.status import NtStatus
from tests.support.wire_client import WireClient

_BUILD = Path(__file__).parents[1] / ".cache" / "benchmarks"
_ACCESS = 0x3
_OPEN, _OPEN_IF, _DIRECTORY = 1, 3, 1
_BATCH = 9
_EXCLUSIVE = 0x2
_BEYOND = 1 << 40
_ALL_CHANGES = 0x17


def _client(server: Server, guid: bytes) -> WireClient:
    client = WireClient("127.0.0.1", server.port, client_guid=guid)
    client.negotiate()
    client.session_setup(server.account.user, server.account.password)
    client.tree_connect(SHARE)
    return client


def _park_on_a_break(client: WireClient, count: int) -> None:
    """Open a file whose holder does not answer."""
    client.create("held", access=_ACCESS, disposition=_OPEN_IF, oplock_level=_BATCH)
    body = encode_create_request(CreateRequest("held", _ACCESS, 0, 7, _OPEN, 0, 0))
    waiting = [client.send(Command.CREATE, body) for _ in range(count)]
    _see_them_wait(client, waiting)


def _park_on_locks(client: WireClient, name: str, count: int) -> None:
    """Ask for a lock that another open has, where no data is."""
    holder, waiter = (client.create(name, access=_ACCESS, disposition=_OPEN_IF) for _ in range(2))
    client.lock(holder, [(_BEYOND, 1, _EXCLUSIVE)])
    body = encode_lock_request(LockRequest(*waiter.file_id, (WireLock(_BEYOND, 1, _EXCLUSIVE),)))
    _see_them_wait(client, [client.send(Command.LOCK, body) for _ in range(count)])


def _park_on_changes(client: WireClient, count: int) -> None:
    """Wait for changes in a folder."""
    folders = [client.create("made", access=_ACCESS, options=_DIRECTORY) for _ in range(count)]
    _see_them_wait(client, [client.send_change_notify(folder, _ALL_CHANGES) for folder in folders])


def _see_them_wait(client: WireClient, waiting: Sequence[int]) -> None:
    """Every one is answered that it is pending; a break's notification may come among them."""
    missing = set(waiting)
    while missing:
        response = client.recv()
        if response.header.message_id in missing:
            if response.status != NtStatus.PENDING:
                raise MeasureError(f"a request that should wait was answered {response.status:#010x}")
            missing.remove(response.header.message_id)


@contextlib.contextmanager
def _waiters(server: Server, kind: str, count: int) -> Iterator[None]:
    """So many requests of one client that wait, until the block ends."""
    with contextlib.ExitStack() as clients:
        if kind != "nobody":
            client = clients.enter_context(_client(server, b"who waits, parked"[:16]))
            if kind == "breaks, locks, changes":
                third = count // 3
                _park_on_a_break(client, third)
                _park_on_locks(client, "small", third)
                _park_on_changes(client, count - 2 * third)
            else:
                _park_on_locks(client, "data", count)
        yield


_KINDS = ("nobody", "breaks, locks, changes", "locks of the same file")


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiters", description=__doc__)
    parser.add_argument("--waiters", type=int, default=1000, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; %(default)s")
    parser.add_argument("--runs", type=int, default=7, help="of which the median counts; %(default)s")
    parser.add_argument("--depth", type=int, default=8, help="reads under way at once; %(default)s")
    asked = parser.parse_args(words)
    generator = build_generator(_BUILD)
    case = Case("read4k", "plain", asked.depth)
    used: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    with tempfile.TemporaryDirectory(prefix="lamina-waiters-") as place:
        Path(place).chmod(0o755)
        folder = Path(place, "share")
        make_folder(folder)
        server = start_lamina(folder, "")
        try:
            for _ in range(asked.runs):
                for kind in _KINDS:
                    with _waiters(server, kind, asked.waiters):
                        used[kind].append(measure(server, case, asked.seconds, generator).cpu)
        finally:
            server.stop()
    alone = median(used["nobody"])
    print(f"CPU µs of the server for a read of 4 KiB; medians of {asked.runs}, {asked.waiters} requests waiting")
    for kind, samples in used.items():
        middle = median(samples)
        spread = f"{min(samples):.1f} to {max(samples):.1f}"
        print(f"  {kind:28}{middle:8.1f}{(middle / alone - 1) * 100:+8.1f} %   ({spread})")


if __name__ == "__main__":
    main()
