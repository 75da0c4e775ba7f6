"""Servers side by side, and the rounds in which they are measured by turns."""

import contextlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.cases import Case, Line, Sample
from benchmarks.measure import measure
from benchmarks.servers import Server, make_folder, smbd_is_installed, start_lamina, start_smbd

_WARMING = 0.1
_ENOUGH = 3
BUILD = Path(__file__).parents[1] / ".cache" / "benchmarks"
LAMINA = "lamina"
KINDS = {"smbd": "", "smbd-sync": "sync", "smbd-full": "full"}
"""The smbds there are, and how `start_smbd` calls them."""


class Wanted(NamedTuple):
    """How servers are started: Lamina's chain and processes, and the number of processor cores for each server.

    With `samples` Lamina has a sampler, which writes there.
    """

    workloads: Collection[str] = ()
    chain: str = ""
    workers: int = 1
    cores: int = 1
    samples: Path | None = None


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, where there is such a place; gone afterwards."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="lamina-bench-", dir=place) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.contextmanager
def running(names: Sequence[str], wanted: Wanted) -> Iterator[list[Server]]:
    """The servers of these names, each over a folder of its own. Raises `ServerError`.

    smbd is left out, with a word to whoever looks, where it is not installed.
    """
    with scratch() as top, contextlib.ExitStack() as stack:
        servers = []
        for name in _possible(names):
            make_folder(top / name, wanted.workloads)
            servers.append(_start(name, top, wanted))
            stack.callback(servers[-1].stop)
        yield servers


def _possible(names: Sequence[str]) -> list[str]:
    if set(names) == {LAMINA} or smbd_is_installed():
        return list(names)
    print("smbd is not installed (package samba): measuring without it", file=sys.stderr)
    return [name for name in names if name == LAMINA]


def _start(name: str, top: Path, wanted: Wanted) -> Server:
    state = top / f"{name}-state"
    if name == LAMINA:
        return start_lamina(top / name, wanted.chain, state, wanted.workers, wanted.cores, wanted.samples)
    return start_smbd(top / name, state, KINDS[name], wanted.cores)


def measure_case(
    servers: Sequence[Server], case: Case, seconds: float, runs: int, generator: Path, until: float = math.inf
) -> Line:
    """Alternating runs, so that a slow moment of the machine meets all servers alike; every second round backwards.

    A short one of each goes before, which does not count: what is done once and remembered was done then. Three rounds
    are enough once it is later than `until`, by the monotonic clock.
    """
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for server in servers:
        measure(server, case, min(_WARMING, seconds), generator)
    for number in range(runs):
        if number >= _ENOUGH and time.monotonic() > until:
            break
        for server in servers if number % 2 == 0 else reversed(servers):
            samples[server.name].append(measure(server, case, seconds, generator))
    return Line(case, samples)


def pin_generator() -> None:
    """Keep this process, and the load generator that it starts, on the last core: servers begin with the first."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1]})
    else:
        print("one core only: the load generator's own work slows the servers down", file=sys.stderr)
