"""How the results of a run are shown: a line of text for each case, or JSON."""

import json
from collections.abc import Sequence

from benchmarks.cases import Line, cpu_ratio, held_back, rate_ratio

EXPLANATION = """CPU ×: the other's processor time for an operation over the first's.
rate ×: the first's operations a second over the other's.
More is better for the first; each is the median of the pairs of neighbouring runs (worst-best pair).
* the load generator was busy all the time: the server could do more."""


def heading(names: Sequence[str]) -> str:
    columns = "".join(f"{name + ' ops/s':>18}{'CPU µs/op':>12}" for name in names)
    ratio = f"{'CPU ×':>20}{'rate ×':>20}" if len(names) == 2 else ""
    return f"{'workload':<14}{'mode':<11}{'conns':>5}{'depth':>6}{columns}{ratio}"


def row(line: Line) -> str:
    names = list(line.samples)
    columns = "".join(
        f"{f'{sample.rate:,.0f}' + ('*' if held_back(line, name) else ''):>18}{sample.cpu:>12,.1f}"
        for name, sample in line.medians().items()
    )
    ratio = f"{cpu_ratio(line, *names)!s:>20}{rate_ratio(line, *names)!s:>20}" if len(names) == 2 else ""
    case = line.case
    return f"{case.workload:<14}{case.mode:<11}{case.connections:>5}{case.depth:>6}{columns}{ratio}"


def as_json(lines: Sequence[Line]) -> str:
    """Every run of every case, with the medians beside."""
    return json.dumps([_plain(line) for line in lines], indent=1)


def _plain(line: Line) -> dict[str, object]:
    return {
        **line.case._asdict(),
        "servers": {name: sample._asdict() for name, sample in line.medians().items()},
        "runs": {name: [sample._asdict() for sample in taken] for name, taken in line.samples.items()},
    }
