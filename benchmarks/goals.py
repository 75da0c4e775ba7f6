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


def _measure_loads(asked: argparse.Namespace) -> tuple[list[Line], list[Result]]:
    connections = [int(count) for count in asked.connections.split(",")]
    planned = plan(asked.only, asked.modes.split(","), connections)
    if not planned:
        return [], []
    generator = build_generator(BUILD)
    lines, results = [], []
    with running(servers(set(asked.only) - {MEMORY}), Wanted(asked.only, "", asked.workers, asked.cores)) as started:
        pin_generator()
        named = {server.name: server for server in started}
        began = time.monotonic()
        for number, (case, against) in enumerate(planned, 1):
            until = began + asked.minutes * 60 * number / len(planned)
            wanted = case._replace(depth=asked.depth or case.depth)
            them = [server for name, server in named.items() if name == OURS or name in against]
            lines.append(measure_case(them, wanted, asked.seconds, asked.runs, generator, until))
            results += _shown(judge(lines[-1], against))
    return lines, results


def _measure_memory(asked: argparse.Namespace) -> list[Result]:
    (goal,) = (goal for goal in GOALS if MEMORY in goal.workloads)
    wanted = Wanted(workers=asked.workers, cores=asked.cores)
    found = measure_memory([OURS, *goal.against], asked.idle, asked.runs, wanted)
    case = Case(MEMORY, "-", 0, asked.idle)
    return _shown([Result(case, name, least, memory_ratio(found, OURS, name)) for name, least in goal.against.items()])


def _shown(results: list[Result]) -> list[Result]:
    for result in results:
        print(row(result), flush=True)
    return results


def main(words: Sequence[str]) -> int:
    """Measure, and say which goals are reached; the exit status is about the measuring, not about the goals."""
    asked = _arguments(words)
    began = time.monotonic()
    print(heading(), flush=True)
    try:
        lines, results = _measure_loads(asked)
        results += _measure_memory(asked) if MEMORY in asked.only else []
    except (ClientError, MeasureError, ServerError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(f"{EXPLANATION}\n{summary(results)}\n{time.monotonic() - began:.0f} seconds")
    _write(asked, lines, results)
    return 0


def _write(asked: argparse.Namespace, lines: Sequence[Line], results: Sequence[Result]) -> None:
    if asked.json:
        asked.json.write_text(as_json(lines) + "\n")
    if asked.markdown:
        asked.markdown.write_text(as_markdown(results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
