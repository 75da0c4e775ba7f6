"""What a running server tells of itself: its clients, and of each share how its modules are and what they count.

`status` makes plain values of live objects; the command line shows them as text, JSON or for a monitoring system.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lamina import __version__
from lamina.core.compiled import by_package, compiled_modules
from lamina.core.control import Command, Say
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.services import MetricSample

if TYPE_CHECKING:
    from lamina.core.runtime import Runtime

Status = dict[str, Any]


def status(runtime: "Runtime") -> Status:
    """The server as it is now: version, uptime in seconds, counts, and its shares with their modules, from the top."""
    server = runtime.server
    trees = Counter(tree.share.name for session in server.sessions.values() for tree in session.trees.values())
    return {
        "version": __version__,
        "compiled": list(compiled_modules()),
        "uptime": round(time.time() - server.started_at, 3),
        "connections": len(server.connections),
        "sessions": len(server.sessions),
        "waiting": len(server.durables),
        "shares": [
            {
                "name": name,
                "path": runtime.plan.shares[name].template or str(runtime.plan.shares[name].path),
                "clients": trees[name],
                "opens": sum(volume.open_count() for volume in runtime.volumes_of(name)),
                "modules": [_module(one) for volume in runtime.volumes_of(name) for one in volume.whole_chain.modules],
            }
            for name in runtime.shares()
        ],
    }


def _module(module: VfsModule) -> Status:
    # What a module has never asked for is not made to look at it.
    used = vars(module)
    health = module.health.current if "health" in used else None
    return {
        "name": module.title,
        "health": health.state.value if health is not None else "ok",
        "reason": health.reason if health is not None else "",
        "since": round(health.since, 3) if health is not None and health.since else None,
        "metrics": [_metric(sample) for sample in module.metrics.samples()] if "metrics" in used else [],
    }


def _metric(sample: MetricSample) -> Status:
    shown: Status = {"name": sample.name, "kind": sample.kind, "about": sample.about, "value": sample.value}
    if sample.kind == "histogram":
        shown["count"] = sample.observed
        shown["buckets"] = [[None if math.isinf(bound) else bound, count] for bound, count in sample.buckets]
    return shown


def status_command(runtime: "Runtime") -> Command:
    """What the control socket answers to "status"."""

    async def answer(_: Mapping[str, Any], say: Say) -> None:
        await say(status(runtime))

    return answer


def as_text(shown: Status) -> Iterator[str]:
    """For people: what is not well first in each share's line, numbers below."""
    yield (
        f"lamina {shown['version']}, up {_duration(shown['uptime'])}, {_many(shown['connections'], 'connection')}, "
        f"{_many(shown['sessions'], 'session')}, {_many(shown['waiting'], 'open file')} without a client"
    )
    if shown.get("compiled"):
        yield f"compiled: {by_package(shown['compiled'])}"
    for worker in shown.get("workers", ()):
        yield f"worker {worker['number']}  process {worker['pid']}, {_many(worker['connections'], 'connection')}"
    for share in shown["shares"]:
        yield ""
        yield (
            f"share {share['name']}  {share['path']}  {_many(share['clients'], 'client')}, "
            f"{_many(share['opens'], 'open file')}"
        )
        for module in share["modules"]:
            reason = f": {module['reason']}" if module["reason"] else ""
            yield f"  {module['name']:<20} {module['health']}{reason}"
            for metric in module["metrics"]:
                yield f"    {metric['name']:<30} {_value(metric):>14}  {metric['about']}"


def _value(metric: Status) -> str:
    if metric["kind"] == "histogram":
        mean = metric["value"] / metric["count"] if metric["count"] else 0
        return f"{metric['count']} × {mean:.3g}"
    return f"{metric['value']:.15g}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    return f"{days} d {rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"


_HEALTH = {"ok": 0, "degraded": 1, "failed": 2}


def as_metrics(shown: Status) -> Iterator[str]:
    """For a monitoring system, in the text format of Prometheus."""
    yield "# HELP lamina_up_seconds Seconds that the server has been running"
    yield "# TYPE lamina_up_seconds gauge"
    yield f"lamina_up_seconds {shown['uptime']}"
    yield "# HELP lamina_module_health How a module is: 0 ok, 1 degraded, 2 failed"
    yield "# TYPE lamina_module_health gauge"
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for share in shown["shares"]:
        for module in share["modules"]:
            labels = f'share="{_escaped(share["name"])}",module="{_escaped(module["name"])}"'
            yield f"lamina_module_health{{{labels}}} {_HEALTH[module['health']]}"
            for metric in module["metrics"]:
                # Modules of different kinds may call different things the same: the module's name is part of it.
                name = f"lamina_{_word(module['name'].partition('#')[0])}_{metric['name']}"
                _, lines = found.setdefault((name, metric["kind"]), (metric["about"], []))
                lines += _samples(name, labels, metric)
    for (name, kind), (about, lines) in found.items():
        yield from (f"# HELP {name} {about}", f"# TYPE {name} {kind}", *lines)


def _samples(name: str, labels: str, metric: Status) -> Iterator[str]:
    if metric["kind"] != "histogram":
        yield f"{name}{{{labels}}} {metric['value']:.17g}"
        return
    for bound, count in metric["buckets"]:
        yield f'{name}_bucket{{{labels},le="{"+Inf" if bound is None else bound}"}} {count}'
    yield f"{name}_sum{{{labels}}} {metric['value']:.17g}"
    yield f"{name}_count{{{labels}}} {metric['count']}"


def _word(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
