"""Lamina in a process of its own, for tests: `python -m tests.support.lamina_process LAYOUT-AS-JSON PORT`.

Says `{"port": N}` on stdout when it accepts connections, answers the questions that come on stdin, one a line, and
ends when stdin does. Answers are JSON: `statistics` counts what may leak, `explain` names it; `channels` counts those
of a session, and `cut` takes one away.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import greenlet

from lamina.core.auth.accounts import MemoryAccounts
from lamina.core.auth.settings import AuthSettings, ThrottleSettings
from lamina.core.events import ServerEvents
from lamina.core.identity.settings import DomainSettings, IdentitySettings
from lamina.core.plan import DEFAULT_CHAIN, Listener, ModuleSpec, ServerPlan, ShareSpec
from lamina.core.runtime import Runtime
from lamina.core.server import new_event_loop
from lamina.core.settings import ServerSettings
from lamina.core.workers.supervisor import Supervisor
from lamina.vfs_modules.engine import Engine
from tests.smbtorture import blocked_channels, slow_controls


def main() -> None:
    """Serve what the command line says until stdin ends."""
    layout, port = json.loads(sys.argv[1]), int(sys.argv[2])
    os.umask(0)  # as smbd does: what modes a share has is for its settings to say
    if layout["torture"]:
        blocked_channels.install()
        slow_controls.install()
    work = serve_by_workers(layout, port) if layout.get("workers", 1) > 1 else serve(layout, port)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)


async def serve_by_workers(layout: dict[str, Any], port: int) -> None:
    """The same by several processes. Questions are answered by none of them, but for `workers`: their process ids."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # All workers must give their users the same SIDs.
    layout["machine_sid"] = layout.get("machine_sid") or MemoryAccounts().machine_sid
    command = [sys.executable, "-m", "tests.support.lamina_worker", json.dumps(layout)]
    supervisor = Supervisor(command, layout["workers"], ServerSettings(**layout["settings"]).limits)
    try:
        await supervisor.start()
        answering = asyncio.create_task(_answer_all({"workers": lambda: _pids(supervisor)}, stop))
        _say({"port": await supervisor.listen("127.0.0.1", port)})
        await stop.wait()
        answering.cancel()
    finally:
        await supervisor.stop()


def _pids(supervisor: Supervisor) -> dict[str, int]:
    ready = {number: worker for number, worker in supervisor.workers.items() if worker.ready.done()}
    return {str(number): worker.process.pid for number, worker in ready.items()}


async def serve(layout: Mapping[str, Any], port: int) -> None:
    """Start, say so, answer questions, end."""
    loop = asyncio.get_running_loop()
    engine = Engine(loop)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    try:
        runtime = await Runtime.start(
            engine, plan(layout, port), accounts(layout), authentication(layout), ServerEvents()
        )
        answers = {question: partial(answer, runtime) for question, answer in _ANSWERS.items()}
        questions = asyncio.create_task(_answer_all(answers, stop))
        _say({"port": runtime.bound[0].port})
        await stop.wait()
        questions.cancel()
        await runtime.close()
    finally:
        engine.close()


def plan(layout: Mapping[str, Any], port: int) -> ServerPlan:
    """The plan that a layout describes."""
    shares = {name: _share(folder) for name, folder in layout["shares"].items()}
    state = Path(layout["state"]) if layout["state"] else None
    return ServerPlan(ServerSettings(**layout["settings"]), shares, (Listener("127.0.0.1", port),), state)


def authentication(layout: Mapping[str, Any]) -> AuthSettings:
    """The settings of authentication that a layout describes; `throttle` False turns the throttle off."""
    settings = dict(layout["auth"])
    throttle = ThrottleSettings(enabled=settings.pop("throttle", True))
    if (identity := settings.pop("identity", None)) is not None:
        domains = tuple(DomainSettings(**domain) for domain in identity.pop("domains", ()))
        settings["identity"] = IdentitySettings(domains, **identity)
    return AuthSettings(throttle=throttle, **settings)


def accounts(layout: Mapping[str, Any]) -> MemoryAccounts:
    """The accounts of a layout; users without a uid are the user who runs this."""
    store = MemoryAccounts(layout.get("machine_sid", ""))
    for user in layout["users"]:
        uid = user["uid"] if user["uid"] is not None else os.geteuid()
        gid = user["gid"] if user["gid"] is not None else os.getegid()
        store.add(user["name"], password=user["password"], uid=uid, gid=gid, groups=user["groups"])
    return store


def statistics(runtime: Runtime) -> dict[str, int]:
    """Counts of everything that a connection could leave behind."""
    gc.collect()
    return {
        "connections": len(list(runtime.server.connections)),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
        "greenlets": _greenlets() - runtime.engine.statistics()["idle_greenlets"],
    }


def _greenlets() -> int:
    """Greenlets that have begun and not ended; those that the engine keeps for its next requests are among them."""
    return sum(1 for item in gc.get_objects() if isinstance(item, greenlet.greenlet) and not item.dead)


def explain(runtime: Runtime) -> dict[str, list[str]]:
    """The same by name, to find what a leak is."""
    descriptors = []
    for number in os.listdir("/proc/self/fd"):
        try:
            descriptors.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return {
        "connections": [repr(item) for item in runtime.server.connections],
        "descriptors": sorted(descriptors),
        "tasks": [repr(task) for task in asyncio.all_tasks()],
    }


def channels(runtime: Runtime) -> dict[str, int]:
    """How many connections the session has that has the most."""
    return {"channels": max((len(session.channels) for session in runtime.server.sessions.values()), default=0)}


def cut(runtime: Runtime) -> dict[str, int]:
    """Reset the last connection of each session that has several; how many."""
    several = [session for session in runtime.server.sessions.values() if len(session.channels) > 1]
    for session in several:
        list(session.channels)[-1].transport.abort()
    return {"cut": len(several)}


_ANSWERS: Mapping[str, Callable[[Runtime], Mapping[str, Any]]] = {
    "statistics": statistics,
    "explain": explain,
    "channels": channels,
    "cut": cut,
}


async def _answer_all(answers: Mapping[str, Callable[[], Mapping[str, Any]]], stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while question := await reader.readline():
        _say(answers[question.decode().strip()]())
    stop.set()


def _say(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - the pipe to the test


def _share(folder: Mapping[str, Any]) -> ShareSpec:
    chain = [ModuleSpec(name, options) for name, options in folder["chain"]]
    return ShareSpec(
        Path(folder["path"]),
        read_only=folder["read_only"],
        encrypt=folder["encrypt"],
        hide_files=frozenset(folder["hide"]),
        chain=chain or DEFAULT_CHAIN,
        **folder["options"],
    )


if __name__ == "__main__":
    main()
