"""`python -m benchmarks`: Lamina, and smbd beside it, under the same loads; README.md says how to read the result."""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.client import ClientError
from benchmarks.measure import MODES, WORKLOADS, Case, MeasureError, Sample, build_generator, measure
from benchmarks.servers import Server, ServerError, make_folder, smbd_is_installed, start_lamina, start_smbd

BUILD = Path(__file__).parents[1] / ".cache" / "benchmarks"
_GENERATOR_CORE = 1
_KINDS = {"smbd-sync": "sync", "smbd-full": "full"}


class Line(NamedTuple):
    """The medians of one case, by server."""

    case: Case
    medians: dict[str, Sample]


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="of: %(default)s")
    parser.add_argument("--modes", default=",".join(MODES), help="of: %(default)s")
    parser.add_argument("--depth", default="1,8", help="requests under way at once on the connection; %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of each case, of which the median counts; %(default)s")
    against = ("smbd", *_KINDS, "none", "only-smbd")
    parser.add_argument("--against", choices=against, default="smbd", help="what to run beside; %(default)s")
    parser.add_argument("--chain", default="", help="modules of Lamina's share, separated by commas; the default chain")
    parser.add_argument("--json", type=Path, help="write the medians here, too")
    arguments = parser.parse_args(words)
    for given, known in ((arguments.workloads, WORKLOADS), (arguments.modes, MODES)):
        unknown = set(given.split(",")) - set(known)
        if unknown:
            parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return arguments


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """What to measure; a connection is set up alike in all modes, and one after the other."""
    modes, depths = arguments.modes.split(","), [int(depth) for depth in arguments.depth.split(",")]
    cases = []
    for workload in arguments.workloads.split(","):
        if workload == "connect":
            cases.append(Case(workload, "-", 1))
        else:
            cases += [Case(workload, mode, depth) for mode in modes for depth in depths]
    return cases


@contextlib.contextmanager
def _servers(arguments: argparse.Namespace) -> Iterator[list[Server]]:
    """The servers, over folders in memory where there is such a place; everything is gone afterwards."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with contextlib.ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lamina-bench-", dir=place)))
        top.chmod(0o755)
        servers = []
        if arguments.against != "only-smbd":
            make_folder(top / "lamina", arguments.workloads.split(","))
            servers.append(start_lamina(top / "lamina", arguments.chain))
            stack.callback(servers[-1].stop)
        if arguments.against != "none":
            servers += _smbd_beside(top, arguments, stack)
        yield servers


def _smbd_beside(top: Path, arguments: argparse.Namespace, stack: contextlib.ExitStack) -> list[Server]:
    if not smbd_is_installed():
        print("smbd is not installed (package samba): measuring without it", file=sys.stderr)
        return []
    make_folder(top / "smbd", arguments.workloads.split(","))
    server = start_smbd(top / "smbd", top / "state", _KINDS.get(arguments.against, ""))
    stack.callback(server.stop)
    return [server]


def measure_case(servers: Sequence[Server], case: Case, arguments: argparse.Namespace, generator: Path) -> Line:
    """Alternating runs, so that a slow moment of the machine meets all servers alike."""
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for _ in range(arguments.runs):
        for server in servers:
            samples[server.name].append(measure(server, case, arguments.seconds, generator))
    medians = {
        name: Sample(median(sample.rate for sample in taken), median(sample.cpu for sample in taken))
        for name, taken in samples.items()
    }
    return Line(case, medians)


def heading(names: Sequence[str]) -> str:
    columns = "".join(f"{name + ' ops/s':>18}{'CPU µs/op':>12}" for name in names)
    ratio = f"{'CPU ratio':>12}" if len(names) == 2 else ""
    return f"{'workload':<14}{'mode':<11}{'depth':>5}{columns}{ratio}"


def row(line: Line) -> str:
    samples = list(line.medians.values())
    columns = "".join(f"{sample.rate:>18,.0f}{sample.cpu:>12,.1f}" for sample in samples)
    ratio = f"{samples[0].cpu / samples[1].cpu:>12.2f}" if len(samples) == 2 and samples[1].cpu else ""
    return f"{line.case.workload:<14}{line.case.mode:<11}{line.case.depth:>5}{columns}{ratio}"


def as_json(lines: Sequence[Line]) -> str:
    return json.dumps(
        [
            {**line.case._asdict(), "servers": {name: sample._asdict() for name, sample in line.medians.items()}}
            for line in lines
        ],
        indent=1,
    )


def pin_generator() -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[_GENERATOR_CORE]})
    else:
        print("one core only: the load generator's own work slows the servers down", file=sys.stderr)


def _run(arguments: argparse.Namespace) -> list[Line]:
    generator = build_generator(BUILD)
    lines = []
    with _servers(arguments) as servers:
        pin_generator()
        print(heading([server.name for server in servers]), flush=True)
        for case in _cases(arguments):
            lines.append(measure_case(servers, case, arguments, generator))
            print(row(lines[-1]), flush=True)
    return lines


def main(words: Sequence[str]) -> int:
    """Measure what `words` ask for; the exit status."""
    arguments = _arguments(words)
    try:
        lines = _run(arguments)
    except (ClientError, MeasureError, ServerError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        arguments.json.write_text(as_json(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
