"""`python -m benchmarks.goals`: whether Lamina is as much faster than smbd as it is to be; README.md explains it all.

Each case is measured in rounds, in which all servers have their turn: Lamina, smbd with its defaults, smbd in its
fastest setting (smbd-sync) and, where its modules matter, smbd as Windows needs it (smbd-full).
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import MODES, Case, Line
from benchmarks.client import ClientError
from benchmarks.goal_table import (
    GOALS,
    MEMORY,
    OURS,
    Result,
    as_markdown,
    heading,
    judge,
    plan,
    row,
    servers,
    summary,
    workloads,
)
from benchmarks.measure import MeasureError, build_generator
from benchmarks.memory import measure_memory, memory_ratio
from benchmarks.runs import BUILD, Wanted, measure_case, pin_generator, running
from benchmarks.servers import ServerError, smbd_is_installed
from benchmarks.table import EXPLANATION, as_json


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.goals", description=__doc__)
    parser.add_argument("--only", default=",".join(workloads()), help="workloads, of: %(default)s")
    parser.add_argument("--modes", default=",".join(MODES), help="of: %(default)s")
    parser.add_argument("--connections", default="1,4", help="how many under load at once; %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="of each case, of which the median counts; %(default)s")
    parser.add_argument("--seconds", type=float, default=0.4, help="of each measurement; %(default)s")
    parser.add_argument(
        "--minutes", type=float, default=12, help="after which three runs of each case are enough; %(default)s"
    )
    parser.add_argument("--depth", type=int, default=0, help="other than that of the goals")
    parser.add_argument("--idle", type=int, default=100, help="connections that are idle, for memory; %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes of Lamina; %(default)s")
    parser.add_argument("--cores", type=int, default=1, help="processor cores that a server may use; %(default)s")
    parser.add_argument("--markdown", type=Path, help="write a table for the documentation here")
    parser.add_argument("--json", type=Path, help="write all runs here")
    arguments = parser.parse_args(words)
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(workloads()):
        parser.error(f"there are no goals for {', '.join(sorted(unknown))}, but for {', '.join(workloads())}")
    if not smbd_is_installed():
        parser.error("smbd is not installed (package samba): there is nobody to compare with")
    return arguments


class Found:
    """What was measured so far, and whether all that was wanted was."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.results: list[Result] = []
        self.complete = True

    def add(self, results: Sequence[Result]) -> None:
        """Keep these, and show them."""
        for result in results:
            print(row(result), flush=True)
        self.results += results

    def failed(self, what: object, error: Exception) -> None:
        """One measurement is worth nothing; the others go on."""
        print(f"benchmarks: {what}: {error}", file=sys.stderr)
        self.complete = False


def _measure_loads(asked: argparse.Namespace, found: Found) -> None:
    connections = [int(count) for count in asked.connections.split(",")]
    planned = plan(asked.only, asked.modes.split(","), connections)
    if not planned:
        return
    generator = build_generator(BUILD)
    with running(servers(set(asked.only) - {MEMORY}), Wanted(asked.only, "", asked.workers, asked.cores)) as started:
        pin_generator()
        began = time.monotonic()
        for number, (case, against) in enumerate(planned, 1):
            until = began + asked.minutes * 60 * number / len(planned)
            wanted = case._replace(depth=asked.depth or case.depth)
            them = [server for server in started if server.name == OURS or server.name in against]
            try:
                found.lines.append(measure_case(them, wanted, asked.seconds, asked.runs, generator, until))
            except (ClientError, MeasureError, OSError) as error:
                found.failed(wanted, error)
            else:
                found.add(judge(found.lines[-1], against))


def _measure_memory(asked: argparse.Namespace, found: Found) -> None:
    (goal,) = (goal for goal in GOALS if MEMORY in goal.workloads)
    wanted = Wanted(workers=asked.workers, cores=asked.cores)
    taken = measure_memory([OURS, *goal.against], asked.idle, asked.runs, wanted)
    case = Case(MEMORY, "-", 0, asked.idle)
    found.add([Result(case, name, least, memory_ratio(taken, OURS, name)) for name, least in goal.against.items()])


def main(words: Sequence[str]) -> int:
    """Measure, and say which goals are reached; the exit status is about the measuring, not about the goals."""
    asked, found = _arguments(words), Found()
    began = time.monotonic()
    print(heading(), flush=True)
    try:
        _measure_loads(asked, found)
        if MEMORY in asked.only:
            _measure_memory(asked, found)
    except (ClientError, MeasureError, ServerError, ValueError) as error:
        found.failed("the run", error)
    finally:
        _write(asked, found)
    print(f"{EXPLANATION}\n{summary(found.results)}\n{time.monotonic() - began:.0f} seconds")
    return 0 if found.complete else 1


def _write(asked: argparse.Namespace, found: Found) -> None:
    if asked.json:
        asked.json.write_text(as_json(found.lines) + "\n")
    if asked.markdown:
        asked.markdown.write_text(as_markdown(found.results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
