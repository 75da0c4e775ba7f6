"""The goals for Lamina beside smbd, and whether they are reached: a table and its rules, without any doing.

A goal is met against smbd as people run it (its defaults, and with the modules that Windows needs, for what these
change); a stretch goal against smbd in its fastest setting, without threads for reading and writing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.cases import ALONE, MODES, Case, Line, Ratio, cpu_ratio, held_back, rate_ratio

MEMORY = "memory"
"""The goal that is no workload: what an idle connection takes."""
OURS = "lamina"
PLAIN, SYNC, FULL = "smbd", "smbd-sync", "smbd-full"
_SMALL, _METADATA, _LARGE = ("echo", "read4k", "write4k"), ("openclose", "stat", "createdelete"), ("read1m", "write1m")
_PROTECTED, _UNPROTECTED = ("signed", "encrypted"), ("plain",)


class Goal(NamedTuple):
    """`workloads` in these modes are to be so many times better than each of the servers `against`."""

    workloads: tuple[str, ...]
    modes: tuple[str, ...]
    depth: int
    against: Mapping[str, float]


def _bars(goal: float, stretch: float, *more: str) -> dict[str, float]:
    return {PLAIN: goal, **dict.fromkeys(more, goal), SYNC: stretch}


GOALS = (
    Goal(_SMALL, MODES, 8, _bars(1.0, 0.8)),
    Goal(_METADATA, MODES, 8, _bars(1.0, 1.2, FULL)),
    Goal(_LARGE, _PROTECTED, 8, _bars(2.0, 1.5)),
    Goal(_LARGE, _UNPROTECTED, 8, _bars(1.2, 0.8)),
    # Those of which smbd needs tens of milliseconds are done one after the other: a run is to end when it is over.
    Goal(("list10000",), MODES, 1, _bars(1.3, 1.3)),
    Goal(("missing",), MODES, 1, _bars(10.0, 10.0)),
    Goal((ALONE,), ("-",), 1, _bars(4.0, 4.0)),
    Goal((MEMORY,), ("-",), 0, _bars(12.0, 12.0)),
)


class Result(NamedTuple):
    """What was measured for one case against one server.

    `cpu` is of memory where the goal is about that, and then there is no `rate`. `held` says that the load generator
    was busy all the time with our server, which might have done more than `rate` tells.
    """

    case: Case
    against: str
    goal: float
    cpu: Ratio
    rate: Ratio | None = None
    held: bool = False

    @property
    def verdict(self) -> str:
        """Which of the two is as good as the goal wants: `reached` is both."""
        enough = self.cpu.middle >= self.goal
        if self.rate is None or (self.rate.middle >= self.goal) == enough:
            return "reached" if enough else "not reached"
        return "CPU only" if enough else "rate only"


def workloads() -> list[str]:
    """All that there are goals for, in the order of the table."""
    return list(dict.fromkeys(workload for goal in GOALS for workload in goal.workloads))


def servers(only: Collection[str]) -> list[str]:
    """Whom to measure for these workloads: Lamina first."""
    return [OURS, *dict.fromkeys(name for goal in _goals(only) for name in goal.against)]


def _goals(only: Collection[str]) -> list[Goal]:
    return [goal for goal in GOALS if set(goal.workloads) & set(only)]


def plan(
    only: Collection[str], modes: Collection[str], connections: Sequence[int]
) -> list[tuple[Case, Mapping[str, float]]]:
    """What to measure by loads, and the goals for it: each workload, in each mode, with each number of connections."""
    planned = []
    for goal in _goals(only):
        for workload in [workload for workload in goal.workloads if workload in only and workload != MEMORY]:
            for mode in [mode for mode in goal.modes if mode in modes or workload == ALONE]:
                planned += [(Case(workload, mode, goal.depth, count), goal.against) for count in connections]
    return planned


def judge(line: Line, against: Mapping[str, float]) -> list[Result]:
    """The results of a case, one for each server that there is a goal against and that was measured."""
    held = held_back(line, OURS)
    return [
        Result(line.case, name, goal, cpu_ratio(line, OURS, name), rate_ratio(line, OURS, name), held)
        for name, goal in against.items()
        if name in line.samples
    ]


def heading() -> str:
    """The first line over those that `row` gives."""
    case = f"{'workload':<14}{'mode':<11}{'conns':>5}{'depth':>6}"
    return f"{case}  {'against':<11}{'goal':>5}{'CPU ×':>22}{'rate ×':>22}   verdict"


def row(result: Result) -> str:
    """A result as a line of text."""
    case = result.case
    first = f"{case.workload:<14}{case.mode:<11}{case.connections:>5}{case.depth:>6}"
    rate = "" if result.rate is None else f"{result.rate}{'*' if result.held else ' '}"
    return f"{first}  {result.against:<11}{result.goal:>5.1f}{result.cpu!s:>22}{rate:>22}   {result.verdict}"


def summary(results: Iterable[Result]) -> str:
    """How many goals are reached, by server."""
    by_server: dict[str, list[Result]] = {}
    for result in results:
        by_server.setdefault(result.against, []).append(result)
    return "\n".join(_counted(name, found) for name, found in by_server.items())


def _counted(name: str, found: Sequence[Result]) -> str:
    verdicts = [result.verdict for result in found]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in ("reached", "CPU only", "rate only", "not reached")]
    return f"against {name:<11}{len(found):>3} goals: {', '.join(counts)}"


def as_markdown(results: Sequence[Result]) -> str:
    """Tables for the documentation, one for each server: a line for each workload and mode, what is reached in bold."""
    counts = sorted({result.case.connections for result in results if result.case.workload != MEMORY})
    names = [name for name in (PLAIN, FULL, SYNC) if any(result.against == name for result in results)]
    return "\n".join(_server_table([result for result in results if result.against == name], counts) for name in names)


def _server_table(results: Sequence[Result], counts: Sequence[int]) -> str:
    columns = [column for count in counts or [1] for column in (f"CPU × ({count})", f"rate × ({count})")]
    lines = [f"Against `{results[0].against}` (connections in brackets):", ""]
    lines += [_line("workload", "mode", "goal", *columns), _line(*["---"] * (3 + len(columns)))]
    for workload, mode in dict.fromkeys((result.case.workload, result.case.mode) for result in results):
        found = [result for result in results if (result.case.workload, result.case.mode) == (workload, mode)]
        cells = [cell for result in found for cell in _cells(result)]
        lines.append(_line(workload, mode, f"{found[0].goal:g}", *cells, *[""] * (len(columns) - len(cells))))
    return "\n".join([*lines, ""])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(result: Result) -> tuple[str, str]:
    rate = "" if result.rate is None else _marked(result.rate, result.goal) + ("\\*" if result.held else "")
    return _marked(result.cpu, result.goal), rate


def _marked(ratio: Ratio, goal: float) -> str:
    """Bold where the goal is reached."""
    return f"**{ratio}**" if ratio.middle >= goal else str(ratio)
