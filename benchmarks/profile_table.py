"""How a profile is shown: as text, or as tables for the documentation. Values and rules, without any doing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.cases import Case, Sample
from benchmarks.profiles import LAYERS, OTHERS, Samples, layers_of, rarely_left_out, shared_out

_RARE = 0.005
_WORTH_TELLING = 0.05
_CALLS = 10
_FUNCTIONS = 12


class Profile(NamedTuple):
    """What is known of a workload: µs of an operation, and in what proportion they go where."""

    case: Case
    server: str
    sample: Sample
    user: float
    calls: Mapping[str, float]
    samples: Samples
    functions: Counter[tuple[str, str]]


def show(found: Profile) -> str:
    """A profile as text."""
    cpu, system = found.sample.cpu, found.sample.cpu - found.user
    head = f"{found.server}: {found.case}: {cpu:.1f} µs (user {found.user:.1f}, system {system:.1f})"
    parts = [f"{head}, {found.sample.rate:,.0f} operations a second"]
    if found.functions:
        parts.append(_column("by layer", shared_out(cpu, layers_of(found.functions)), "µs"))
        most = list(shared_out(cpu, found.functions).items())[:_FUNCTIONS]
        parts.append(_column("by function", {f"{name} ({path})": used for (path, name), used in most}, "µs"))
    if found.samples.total:
        whole = cpu / found.samples.total
        everything = {f"{name} (kernel)": count * whole for name, count in found.samples.system.items()}
        everything |= {name: count * whole for name, count in found.samples.user.items()}
        parts.append(_column("by program and system call", rarely_left_out(everything, cpu / 100), "µs"))
    if found.calls:
        heading = f"system calls for an operation, {sum(found.calls.values()):.2f} in all"
        parts.append(_column(heading, rarely_left_out(found.calls, _RARE), "", 3))
    return "\n".join(parts) + "\n"


def _column(title: str, numbers: Mapping[str, float], unit: str, digits: int = 1) -> str:
    lines = [f"    {number:>10.{digits}f} {unit:<3}{name}" for name, number in numbers.items()]
    return "\n".join([f"  {title}", *lines])


def as_markdown(profiles: Sequence[Profile]) -> str:
    """A table of the layers of each workload, and one of its system calls: how many, and their µs in the kernel."""
    names = [*(name for name, _ in LAYERS), OTHERS]
    budget = [_line(["workload", "in all", "user", "system", *names]), _line(["---"] * (4 + len(names)))]
    calls = [_line(["workload", "in all", "system calls for an operation (µs each)"]), _line(["---"] * 3)]
    for found in profiles:
        cpu = found.sample.cpu
        layers = shared_out(cpu, layers_of(found.functions))
        numbers = [cpu, found.user, cpu - found.user, *(layers.get(name, 0.0) for name in names)]
        budget.append(_line([found.case.workload, *(f"{number:,.1f}" if number else "" for number in numbers)]))
        calls.append(_line([found.case.workload, f"{sum(found.calls.values()):,.1f}", _told(found)]))
    return "\n".join([*budget, "", *calls, ""])


def _told(found: Profile) -> str:
    """The system calls with their number and, where samples tell, the kernel's time for one."""
    whole = found.sample.cpu / (found.samples.total or 1)
    told = []
    calls = rarely_left_out(found.calls, _WORTH_TELLING)
    for name, count in list(calls.items())[:_CALLS]:
        samples = sum(taken for known, taken in found.samples.system.items() if _same(known, name))
        number = f"{count:.2f}".rstrip("0").rstrip(".")
        told.append(f"{name} {number}" + (f" ({samples * whole / count:.1f})" if samples else ""))
    return ", ".join([*told, "…"] if len(calls) > _CALLS else told)


def _same(sampled: str, counted: str) -> bool:
    """Whether a function of the kernel's is that of a system call: the former has the older name, without a number."""
    return sampled in (counted, counted.removesuffix("2"), counted.removesuffix("64"))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
