"""A server in the foreground: signals, log, ready line, and what was served at the end. For `serve` and `run`."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from lamina.core.auth.accounts import AccountStore
from lamina.core.auth.settings import AuthSettings
from lamina.core.cli.errors import CliError
from lamina.core.plan import ServerPlan
from lamina.core.ports import bind_message, probe
from lamina.core.reporter import Reporter, Sink, json_sink, text_sink
from lamina.core.runtime import Runtime, StartError
from lamina.core.server import new_event_loop
from lamina.core.stalls import Watchdog
from lamina.vfs_modules.engine import Engine

Started = Callable[[Runtime], AbstractAsyncContextManager[None]]


class JsonFormatter(logging.Formatter):
    """A log record as one JSON object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        fields = {"time": round(record.created, 3), "level": record.levelname.lower(), "logger": record.name}
        fields["message"] = record.getMessage()
        for extra in ("audit", "fields"):
            if (more := getattr(record, extra, None)) is not None:
                fields[extra] = more
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=repr)


def set_up_log(level: str, as_json: bool) -> None:
    """Log to stderr, from `level` on."""
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if as_json else plain)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def sink(as_json: bool) -> Sink:
    """Where events go."""
    return json_sink if as_json else text_sink


def serve_until_stopped(
    plan: ServerPlan, accounts: AccountStore, auth: AuthSettings, reporter: Reporter, started: Started
) -> None:
    """Serve `plan` until SIGINT or SIGTERM; inside `started(runtime)` it is running. Raises CliError."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(plan, accounts, auth, reporter, started))


async def _serve(
    plan: ServerPlan, accounts: AccountStore, auth: AuthSettings, reporter: Reporter, started: Started
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    engine = Engine(loop)
    try:
        runtime = await _start(engine, plan, accounts, auth, reporter)
        try:
            async with started(runtime):
                listening(reporter, runtime)
                notify("READY=1")
                with contextlib.closing(Watchdog(loop, limit=plan.settings.limits.seconds_blocking)):
                    await stop.wait()
        finally:
            notify("STOPPING=1")
            await runtime.close()
        stopped(reporter, runtime)
    finally:
        engine.close()


async def _start(
    engine: Engine, plan: ServerPlan, accounts: AccountStore, auth: AuthSettings, reporter: Reporter
) -> Runtime:
    try:
        return await Runtime.start(engine, plan, accounts, auth, reporter, forgiving=True)
    except StartError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(why_not_listening(plan, error)) from error


def why_not_listening(plan: ServerPlan, error: OSError) -> str:
    """Which of the addresses of a plan cannot be listened on, and why, in a line."""
    for listener in plan.listeners:
        found = probe(listener.address, listener.port)
        if found is not None:
            return f"{listener}: {bind_message(listener.address, listener.port, found)}"
    return str(error)


def listening(reporter: Reporter, runtime: Runtime) -> None:
    """Tell that connections are accepted, where, and to which shares."""
    addresses = [{"address": listener.address, "port": listener.port} for listener in runtime.bound]
    reporter.emit("listening", pid=os.getpid(), listeners=addresses, shares=list(runtime.shares()))


def stopped(reporter: Reporter, runtime: Runtime) -> None:
    """Tell what was served."""
    keys = ("connections", "sessions", "opens", "requests", "bytes_received", "bytes_sent")
    reporter.emit("stopped", **{key: runtime.server.statistics[key] for key in keys})


def notify(state: str) -> None:
    """Tell systemd, if it started us and wants to know (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
        client.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


@contextlib.asynccontextmanager
async def on_hangup(action: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Do `action` at each SIGHUP."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[object]] = set()

    async def act() -> object:
        return await action()

    def hung_up() -> None:
        task = loop.create_task(act())
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def write(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
