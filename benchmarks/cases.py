"""What is measured, and how two servers that were measured by turns compare: values and rules, without any doing."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

WORKLOADS = (
    "echo",
    "read4k",
    "write4k",
    "read1m",
    "write1m",
    "openclose",
    "stat",
    "createdelete",
    "missing",
    "list1000",
    "list10000",
    "connect",
)
MODES = ("plain", "signed", "encrypted")
ALONE = "connect"
"""The workload whose clients have one connection after the other, set up alike in all modes."""
BUSY = 0.9
"""From this share of its time on, the generator is what holds the rate back."""


class Case(NamedTuple):
    """A workload, on so many connections, with so many operations under way on each."""

    workload: str
    mode: str
    depth: int
    connections: int = 1

    def __str__(self) -> str:
        return f"{self.workload}, {self.mode}, {self.connections} × {self.depth}"


class Sample(NamedTuple):
    """What came out of one run: operations per second, and CPU microseconds of the server for each.

    `client` is the share of the time in which the load generator itself was at work, `operations` how many there were.
    """

    rate: float
    cpu: float
    client: float = 0.0
    operations: int = 0


class Ratio(NamedTuple):
    """How many times better one server was than another: of the median pair of runs, the worst and the best."""

    middle: float
    worst: float
    best: float

    def __str__(self) -> str:
        digits = 2 if self.middle < 20 else 0
        return f"{self.middle:.{digits}f} ({self.worst:.{digits}f}-{self.best:.{digits}f})"


class Line(NamedTuple):
    """The runs of one case, by server, each in the order of the rounds."""

    case: Case
    samples: Mapping[str, Sequence[Sample]]

    def medians(self) -> dict[str, Sample]:
        """What each server did, for those who want absolute numbers."""
        return {name: _median(taken) for name, taken in self.samples.items()}


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(*(median(column) for column in zip(*samples, strict=True)))


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """The ratio of each pair's first number to its second; a second one of 0 is as good as none (infinite)."""
    ratios = [first / second if second else float("inf") for first, second in pairs]
    return Ratio(median(ratios), min(ratios), max(ratios))


def cpu_ratio(line: Line, ours: str, theirs: str) -> Ratio:
    """Their CPU time for an operation over ours, of each round: 2 means that we need half of it."""
    return ratio_of([(other.cpu, own.cpu) for own, other in _rounds(line, ours, theirs)])


def rate_ratio(line: Line, ours: str, theirs: str) -> Ratio:
    """Our operations a second over theirs, of each round: 2 means that we do twice as many."""
    return ratio_of([(own.rate, other.rate) for own, other in _rounds(line, ours, theirs)])


def _rounds(line: Line, ours: str, theirs: str) -> list[tuple[Sample, Sample]]:
    return list(zip(line.samples[ours], line.samples[theirs], strict=True))


def held_back(line: Line, server: str) -> bool:
    """Whether the rate of a server is what the load generator can do, rather than the server."""
    return line.medians()[server].client >= BUSY


def cases(
    workloads: Sequence[str], modes: Sequence[str], depths: Sequence[int], connections: Sequence[int]
) -> list[Case]:
    """All combinations; `connect` has neither modes nor depths."""
    found = []
    for workload in workloads:
        own = [("-", 1)] if workload == ALONE else [(mode, depth) for mode in modes for depth in depths]
        found += [Case(workload, mode, depth, count) for mode, depth in own for count in connections]
    return found
