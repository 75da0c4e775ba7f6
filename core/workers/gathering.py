"""The control socket of a server of several workers: asked once, answered by all of them together."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lamina.core.control import LINE_LIMIT, Command, Say
from lamina.core.workers.seat import control_socket
from lamina.core.workers.supervisor import Supervisor

Line = dict[str, Any]

_SUMS = ("connections", "sessions", "waiting")
_WORST = {"ok": 0, "degraded": 1, "failed": 2}


def gathered_commands(supervisor: Supervisor) -> dict[str, Command]:
    """What the control socket answers to, but for what is the supervisor's own."""
    return {
        "status": _status_command(supervisor),
        "handles": _passed_on(supervisor),
        "close handles": _close_command(supervisor),
        "trace": _trace_command(supervisor),
    }


def sockets(supervisor: Supervisor) -> list[Path]:
    """The control sockets of the workers that are there."""
    living = [worker.number for worker in supervisor.workers.values() if worker.process.returncode is None]
    return [control_socket(supervisor.folder, number) for number in living]


async def answers(path: Path, request: Mapping[str, Any]) -> AsyncIterator[Line]:
    """The lines of one worker; none where it is gone."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
    except OSError:
        return
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        while line := await reader.readline():
            yield json.loads(line)
    finally:
        writer.close()


async def all_answers(supervisor: Supervisor, request: Mapping[str, Any]) -> list[list[Line]]:
    """The lines of each worker, from all at once."""

    async def of_one(path: Path) -> list[Line]:
        return [line async for line in answers(path, request)]

    return list(await asyncio.gather(*map(of_one, sockets(supervisor))))


def _passed_on(supervisor: Supervisor) -> Command:
    async def answer(request: Mapping[str, Any], say: Say) -> None:
        for lines in await all_answers(supervisor, request):
            for line in lines:
                await say(line)

    return answer


def _close_command(supervisor: Supervisor) -> Command:
    async def answer(request: Mapping[str, Any], say: Say) -> None:
        found = await all_answers(supervisor, request)
        await say({"closed": [number for lines in found for line in lines for number in line.get("closed", ())]})

    return answer


def _status_command(supervisor: Supervisor) -> Command:
    async def answer(request: Mapping[str, Any], say: Say) -> None:
        found = [lines[0] for lines in await all_answers(supervisor, request) if lines]
        await say({**merged(found), "workers": workers(supervisor)} if found else {"errors": ["no worker answers"]})

    return answer


def workers(supervisor: Supervisor) -> list[Line]:
    """Each worker: its number, its process and how many connections it has."""
    return [
        {
            "number": worker.number,
            "pid": worker.process.pid,
            "connections": len(worker.connections),
        }
        for worker in supervisor.workers.values()
    ]


def merged(found: Sequence[Line]) -> Line:
    """One status of those of several workers: counts are sums, and of a module's health the worst is told."""
    first = found[0]
    return {
        "version": first["version"],
        "uptime": max(status["uptime"] for status in found),
        **{key: sum(status[key] for status in found) for key in _SUMS},
        "shares": [
            _merged_share([share for status in found for share in status["shares"] if share["name"] == name])
            for name in dict.fromkeys(share["name"] for status in found for share in status["shares"])
        ],
    }


def _merged_share(shares: Sequence[Line]) -> Line:
    first = shares[0]
    modules = [[share["modules"][at] for share in shares if at < len(share["modules"])] for at in _places(first)]
    return {
        **first,
        "clients": sum(share["clients"] for share in shares),
        "opens": sum(share["opens"] for share in shares),
        "modules": [_merged_module(same) for same in modules],
    }


def _places(share: Line) -> range:
    return range(len(share["modules"]))


def _merged_module(modules: Sequence[Line]) -> Line:
    worst = max(modules, key=lambda module: _WORST.get(module["health"], 0))
    metrics: dict[str, Line] = {}
    for module in modules:
        for metric in module["metrics"]:
            known = metrics.get(metric["name"])
            metrics[metric["name"]] = metric if known is None else _added(known, metric)
    return {**worst, "metrics": list(metrics.values())}


def _added(one: Line, other: Line) -> Line:
    both = {**one, "value": one["value"] + other["value"]}
    if one["kind"] == "histogram":
        both["count"] = one["count"] + other["count"]
        counts = zip(one["buckets"], other["buckets"], strict=True)
        both["buckets"] = [[bound, count + more] for (bound, count), (_, more) in counts]
    return both


def _trace_command(supervisor: Supervisor) -> Command:
    async def answer(request: Mapping[str, Any], say: Say) -> None:
        begun = False

        async def pass_on(path: Path) -> None:
            nonlocal begun
            async for line in answers(path, request):
                # All say first what is traced, or that it cannot be.
                if not ({"tracing", "errors"} & line.keys() and begun):
                    begun = True
                    await say(line)

        await asyncio.gather(*map(pass_on, sockets(supervisor)))

    return answer
