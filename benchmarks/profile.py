"""`python -m benchmarks.profile WORKLOAD…`: where a server's time goes, by layer, by program and by system call.

The same load is put on one server several times: once undisturbed, for the processor time of an operation, then under
perf, which says in which program and system call samples were, under perf or strace, which count system calls, and with
a sampler of Python's functions within the server. What is not installed is left out, and named. As root, for perf and
strace look at another process.

The time of a layer and of a function is with what it calls of others', the kernel included. The table by program and
system call shares out the same time otherwise: a system call's is the kernel's part.

With --keep and Python 3.12 or later the server runs with perf support (PYTHONPERFSUPPORT), so that `perf report` shows
Python's functions in what is kept, where the interpreter was built with frame pointers.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.cases import ALONE, MODES, WORKLOADS, Case, Sample
from benchmarks.client import ClientError
from benchmarks.measure import MeasureError, build_generator, measure
from benchmarks.profile_table import Profile, as_markdown, show
from benchmarks.profiles import Samples, counted_by_perf, counted_by_strace, functions_of, samples_of
from benchmarks.runs import BUILD, KINDS, LAMINA, Wanted, pin_generator, running
from benchmarks.sampler import END, START, STOP
from benchmarks.servers import Server, ServerError

_FREQUENCY = 4999
_ATTACH_SECONDS = 0.5
_END_SECONDS = 60
_LONGER = 5
SAMPLES = "samples"


class Tools(NamedTuple):
    """The programs that there are; "" is one that is not."""

    perf: str
    strace: str

    @classmethod
    def found(cls) -> "Tools":
        return cls(*(shutil.which(name) or "" for name in cls._fields))

    def missing(self) -> list[str]:
        """What to install, and why."""
        return [
            *([] if self.perf else ["perf (Debian: linux-perf): where the kernel and programs use time"]),
            *([] if self.perf or self.strace else ["strace (Debian: strace): how many system calls there are"]),
        ]


class Workbench(NamedTuple):
    """A server under a load, as often as somebody wants to look at it."""

    server: Server
    case: Case
    seconds: float
    generator: Path
    place: Path

    def load(self, times: int = 1) -> Sample:
        """Put the load on the server, so many times as long. Raises `MeasureError`, `ClientError`."""
        return measure(self.server, self.case, self.seconds * times, self.generator)

    def watched(self, command: Sequence[str]) -> Sample:
        """The same while a program looks on, which ends at SIGINT. Raises as `load`."""
        with (self.place / "said").open("wb") as said:
            watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            try:
                time.sleep(_ATTACH_SECONDS)
                return self.load()
            finally:
                watcher.send_signal(signal.SIGINT)
                watcher.wait(_END_SECONDS)

    def processes(self) -> str:
        return ",".join(map(str, self.server.processes()))


def profile(bench: Workbench, tools: Tools) -> Profile:
    """Look at a server under a load with all the tools that there are. Raises `MeasureError`, `ClientError`."""
    bench.load()
    before = bench.server.split_seconds()
    sample = bench.load()
    user, system = (after - first for after, first in zip(bench.server.split_seconds(), before, strict=True))
    functions = functions_of(_sampled(bench) if bench.server.name == LAMINA else "")
    return Profile(
        bench.case,
        bench.server.name,
        sample,
        sample.cpu * user / ((user + system) or 1.0),
        _calls(bench, tools),
        _samples(bench, tools) if tools.perf else Samples(Counter(), Counter()),
        functions,
    )


def _calls(bench: Workbench, tools: Tools) -> dict[str, float]:
    """System calls for each operation."""
    output = bench.place / "calls"
    read: Callable[[str], Counter[str]]
    if tools.perf and Path("/sys/kernel/tracing/events/syscalls").is_dir():
        words, read = (
            [tools.perf, "stat", "-x,", "-e", "syscalls:sys_enter_*", "-p", bench.processes()],
            counted_by_perf,
        )
    elif tools.strace:
        words, read = [tools.strace, "-c", "-f", "-p", bench.processes()], counted_by_strace
    else:
        return {}
    sample = bench.watched([*words, "-o", str(output)])
    return {name: count / sample.operations for name, count in read(output.read_text()).items()}


def _samples(bench: Workbench, tools: Tools) -> Samples:
    output = str(bench.place / f"perf-{bench.server.name}-{bench.case.workload}.data")
    record = [tools.perf, "record", "-q", "-g", "-e", "cpu-clock", "-F", str(_FREQUENCY), "-o", output]
    bench.watched([*record, "-p", bench.processes()])
    script = [tools.perf, "script", "-F", "ip,sym,dso", "-i", output]
    return samples_of(subprocess.run(script, capture_output=True, text=True, check=False, errors="replace").stdout)


def _sampled(bench: Workbench) -> str:
    """What the server's own sampler finds during a load."""
    output, process = bench.place / SAMPLES, bench.server.process
    process.send_signal(START)
    bench.load(_LONGER)
    process.send_signal(STOP)
    deadline = time.monotonic() + _END_SECONDS
    while not (said := output.read_text()).endswith(END) and time.monotonic() < deadline:
        time.sleep(0.01)
    return said.removesuffix(END)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    told = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__, formatter_class=told)
    parser.add_argument(
        "workloads", nargs="+", choices=(*WORKLOADS, "all"), metavar="WORKLOAD", help="one or more, or all"
    )
    parser.add_argument("--mode", choices=MODES, default="plain", help="%(default)s")
    parser.add_argument("--depth", type=int, default=8, help="operations under way at once; %(default)s")
    parser.add_argument("--connections", type=int, default=1, help="under load at once; %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of each look, but five times of the sampler's; %(default)s"
    )
    parser.add_argument("--server", choices=(LAMINA, *KINDS), default=LAMINA, help="whom to look at; %(default)s")
    parser.add_argument("--chain", default="", help="modules of Lamina's share, separated by commas; the default chain")
    parser.add_argument("--keep", type=Path, help="a folder for what perf has recorded, for `perf report`")
    parser.add_argument("--markdown", type=Path, help="write tables for the documentation here")
    asked = parser.parse_args(words)
    asked.workloads = WORKLOADS if "all" in asked.workloads else asked.workloads
    return asked


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="lamina-profile-") as folder:
        yield Path(folder)


def _run(asked: argparse.Namespace, tools: Tools) -> None:
    generator = build_generator(BUILD)
    found: list[Profile] = []
    if asked.keep:
        os.environ["PYTHONPERFSUPPORT"] = "1"
    with _place(asked.keep) as place, running([asked.server], _wanted(asked, place)) as servers:
        pin_generator()
        for workload in asked.workloads:
            case = Case(workload, asked.mode, asked.depth, asked.connections)
            case = Case(workload, "-", 1, asked.connections) if workload == ALONE else case
            for server in servers:
                found.append(profile(Workbench(server, case, asked.seconds, generator, place), tools))
                print(show(found[-1]), flush=True)
    if asked.markdown:
        asked.markdown.write_text(as_markdown(found))


def _wanted(asked: argparse.Namespace, place: Path) -> Wanted:
    return Wanted(asked.workloads, asked.chain, samples=place / SAMPLES)


def main(words: Sequence[str]) -> int:
    """Profile what `words` ask for; the exit status."""
    asked, tools = _arguments(words), Tools.found()
    for missing in tools.missing():
        print(f"not installed: {missing}", file=sys.stderr)
    try:
        _run(asked, tools)
    except (ClientError, MeasureError, ServerError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
