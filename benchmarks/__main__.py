"""`python -m benchmarks`: Lamina, and smbd beside it, under the same loads; README.md says how to read the result."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import MODES, WORKLOADS, Line, cases
from benchmarks.client import ClientError
from benchmarks.measure import MeasureError, build_generator
from benchmarks.runs import BUILD, KINDS, LAMINA, Wanted, measure_case, pin_generator, running
from benchmarks.servers import ServerError
from benchmarks.table import EXPLANATION, as_json, heading, row


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="of: %(default)s")
    parser.add_argument("--modes", default=",".join(MODES), help="of: %(default)s")
    parser.add_argument("--depth", default="1,8", help="requests under way at once on a connection; %(default)s")
    parser.add_argument("--connections", default="1", help="how many, all under load at once; %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of each case, of which the median counts; %(default)s")
    parser.add_argument("--against", choices=(*KINDS, "none", "only-smbd"), default="smbd", help="beside; %(default)s")
    parser.add_argument("--chain", default="", help="modules of Lamina's share, separated by commas; the default chain")
    parser.add_argument("--workers", type=int, default=1, help="processes of Lamina; %(default)s")
    parser.add_argument("--cores", type=int, default=1, help="processor cores that a server may use; %(default)s")
    parser.add_argument("--json", type=Path, help="write all runs here, too")
    arguments = parser.parse_args(words)
    for given, known in ((arguments.workloads, WORKLOADS), (arguments.modes, MODES)):
        unknown = set(given.split(",")) - set(known)
        if unknown:
            parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return arguments


def _names(against: str) -> list[str]:
    return {"none": [LAMINA], "only-smbd": ["smbd"]}.get(against, [LAMINA, against])


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _run(arguments: argparse.Namespace) -> list[Line]:
    generator = build_generator(BUILD)
    workloads, modes = arguments.workloads.split(","), arguments.modes.split(",")
    wanted = Wanted(workloads, arguments.chain, arguments.workers, arguments.cores)
    lines = []
    with running(_names(arguments.against), wanted) as servers:
        pin_generator()
        print(heading([server.name for server in servers]), flush=True)
        for case in cases(workloads, modes, _numbers(arguments.depth), _numbers(arguments.connections)):
            lines.append(measure_case(servers, case, arguments.seconds, arguments.runs, generator))
            print(row(lines[-1]), flush=True)
    print(EXPLANATION)
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
