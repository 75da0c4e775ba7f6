"""`python -m benchmarks.memory`: what a connection takes whose client has logged on, connected the share and is idle.

Memory is the proportional set size of all processes of a server (PSS: a page that several share counts for each in
part), which is the only honest number for a server with a process for each connection. Each run starts the servers
anew, because neither gives back all that it once had.
"""

import argparse
import contextlib
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.cases import Ratio, ratio_of
from benchmarks.client import ClientError, connect, tree_connect
from benchmarks.measure import UNC
from benchmarks.runs import KINDS, LAMINA, Wanted, running
from benchmarks.servers import Server, ServerError

_FIRST = 10
_SETTLE_SECONDS = 0.5
_SPARE_DESCRIPTORS = 100


def proportional_set(rollup: str) -> int:
    """The bytes that /proc/PID/smaps_rollup tells of (proc(5))."""
    for line in rollup.splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            return int(rest.split()[0]) * 1024
    return 0


def _memory(server: Server) -> int:
    total = 0
    for process in server.processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += proportional_set(Path(f"/proc/{process}/smaps_rollup").read_text())
    return total


def idle_connection(server: Server, count: int) -> float:
    """Bytes that each of `count` idle connections takes; the first few, which make what all use, come before."""
    with contextlib.ExitStack() as stack:
        _connect(server, _FIRST, stack)
        before = _memory(server)
        _connect(server, count, stack)
        return (_memory(server) - before) / count


def _connect(server: Server, count: int, stack: contextlib.ExitStack) -> None:
    for _ in range(count):
        session = connect(server.port, server.account)
        stack.enter_context(session.connection)
        tree_connect(session, UNC)
    # Who has just answered still does this and that for a moment.
    time.sleep(_SETTLE_SECONDS)


def measure_memory(names: Sequence[str], count: int, runs: int, wanted: Wanted) -> dict[str, list[float]]:
    """Bytes for an idle connection, of each server of these names, in each run. Raises as `running`."""
    allow_descriptors(count + _FIRST)
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        with running(names, wanted) as servers:
            for server in servers:
                found.setdefault(server.name, []).append(idle_connection(server, count))
    return found


def allow_descriptors(count: int) -> None:
    """So many connections, and what else this process has open. Raises ValueError if the system does not let it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + _SPARE_DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + _SPARE_DESCRIPTORS, hard))


def memory_ratio(found: Mapping[str, Sequence[float]], ours: str, theirs: str) -> Ratio:
    """Their memory over ours, of each run: 12 means that we need a twelfth."""
    return ratio_of(list(zip(found[theirs], found[ours], strict=True)))


def main(words: Sequence[str]) -> int:
    """Measure what `words` ask for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--connections", default="100,500", help="how many; %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts; %(default)s")
    parser.add_argument("--against", choices=(*KINDS, "none"), default="smbd", help="beside; %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes of Lamina; %(default)s")
    asked = parser.parse_args(words)
    names = [LAMINA] if asked.against == "none" else [LAMINA, asked.against]
    wanted = Wanted(workers=asked.workers, cores=os.cpu_count() or 1)
    for count in map(int, asked.connections.split(",")):
        try:
            found = measure_memory(names, count, asked.runs, wanted)
        except (ClientError, ServerError, ValueError) as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
        _show(count, found)
    return 0


def _show(count: int, found: Mapping[str, Sequence[float]]) -> None:
    each = ", ".join(f"{name} {sorted(taken)[len(taken) // 2] / 1024:,.1f} KiB" for name, taken in found.items())
    ratio = f"; memory × {memory_ratio(found, *found)}" if len(found) == 2 else ""
    print(f"an idle connection of {count}: {each}{ratio}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
