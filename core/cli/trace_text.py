"""A traced request as lines for people: the request, and below it the tree of what the modules did.

Two columns of microseconds stand before the tree: all that a line took, and without the lines below it. That of the
request itself is the protocol's and the NT level's.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from lamina.core.reporter import printable

HEADING = f"{'µs':>9} {'own':>9}"


def lines(record: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one record."""
    own = record["us"] - sum(step["us"] for step in record["steps"])
    seconds = record["time"]
    clock = time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{int(seconds % 1 * 1000):03d}"
    who = f"{record['user']} from {record['client']}" if record["client"] else record["user"]
    details = {key: value for key, value in record["details"].items() if key != "name"}
    status = f" → {record['status']}" if record["status"] else ""
    call = _call(record["command"], record["path"], details)
    yield f"{_times(record['us'], own)}  {call}{status}  [{_safe(who)} {clock}]"
    yield from _tree(record["steps"], "")
    if record["left_out"]:
        yield f"{_times()}  … and {record['left_out']} steps more"


def _tree(steps: list[Mapping[str, Any]], indent: str) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        last = number == len(steps)
        yield f"{_times(step['us'], step['own_us'])}  {indent}{'└─' if last else '├─'} {_step(step)}"
        yield from _tree(step["steps"], indent + ("   " if last else "│  "))


def _step(step: Mapping[str, Any]) -> str:
    arguments = {key: value for key, value in step["arguments"].items() if key != "path"}
    text = _call(f"{step['module']}.{step['operation']}", step["arguments"].get("path", ""), arguments)
    outcome = step.get("error") or " ".join(f"{key}={_safe(value)}" for key, value in step.get("result", {}).items())
    return f"{text} → {outcome}" if outcome else text


def _call(name: str, path: str, arguments: Mapping[str, Any]) -> str:
    return " ".join(
        [name, *([_safe(path)] if path else []), *(f"{key}={_value(key, value)}" for key, value in arguments.items())]
    )


def _value(key: str, value: object) -> str:
    return f"{value:04o}" if key == "mode" and isinstance(value, int) else _safe(value)


def _times(*microseconds: float) -> str:
    return " ".join(f"{value:>9.1f}" for value in microseconds) if microseconds else " " * 19


def _safe(value: object) -> str:
    return printable(str(value).lower() if isinstance(value, bool) else str(value))
