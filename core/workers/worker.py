"""One worker process: a server like any other, but that its connections come from the supervisor.

It ends when the supervisor does, however that was, or asks it to.
"""

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lamina.core.accepted_transport import AcceptedTransport
from lamina.core.auth.accounts import AccountStore
from lamina.core.auth.settings import AuthSettings
from lamina.core.control import Command, answering
from lamina.core.events import ServerEvents
from lamina.core.handles import handle_commands
from lamina.core.plan import ServerPlan
from lamina.core.runtime import Runtime
from lamina.core.server import new_event_loop
from lamina.core.stalls import Watchdog
from lamina.core.status import status_command
from lamina.core.tracing import trace_command
from lamina.core.workers.common_folder import hold_folder
from lamina.core.workers.crew import Crew
from lamina.core.workers.link import Link
from lamina.core.workers.moving import Mover, messages_of
from lamina.core.workers.recovering import Recovery
from lamina.core.workers.seat import Seat
from lamina.ntfsa.workers.peers import Peers
from lamina.ntfsa.workers.shared_registry import MESSAGE, SharedRegistry
from lamina.ntfsa.workers.shared_state import Letter, SharedState
from lamina.ntfsa.workers.volume_peers import VolumesOfPeers
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.processes import join

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.2
_SECONDS_WITHOUT: Final = 5.0
"""How long a worker may take to end whose supervisor was killed."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker serves; as for a server of one process, but that nothing is listened on.

    `more` are commands that its control socket answers to beside those that all have.
    """

    plan: ServerPlan
    accounts: AccountStore
    authentication: AuthSettings
    events: ServerEvents
    more: Callable[[Runtime], Mapping[str, Command]] = lambda _: {}


def run_worker(seat: Seat, work: Work) -> None:
    """Serve until the supervisor ends or says so. Raises StartError, OSError."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(seat, work))


async def _serve(seat: Seat, work: Work) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        # The terminal sends them to every process; what they mean is the supervisor's to say.
        signal.signal(ignored, signal.SIG_IGN)
    join(seat.folder, seat.number)
    hold = hold_folder(seat.folder)
    engine = Engine(loop)
    state = SharedState(Path(seat.folder), seat.number, seat.bells)
    try:
        crew = _crew(seat, state, engine)
        settings = replace(work.plan.settings, server_guid=bytes.fromhex(seat.guid))
        plan = replace(work.plan, settings=settings, listeners=())
        async with _reading_letters(state, crew, loop):
            with _ending_with(seat.link, loop):
                runtime = await Runtime.start(
                    engine, plan, work.accounts, work.authentication, work.events, forgiving=True, crew=crew
                )
                await engine.run(crew.take_up, runtime.server, runtime.shares())
            crew.release()
            try:
                async with _linked(seat, runtime, stop), _controlled(seat, runtime, work):
                    with contextlib.closing(Watchdog(loop, limit=plan.settings.limits.seconds_blocking)):
                        await stop.wait()
            finally:
                await runtime.close()
    finally:
        engine.close()
        state.close()
        hold.close()


@contextlib.contextmanager
def _ending_with(link: int, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """End at once where the supervisor does inside, while nobody reads what it says: who is asked may never answer."""
    supervisor = select.poll()
    supervisor.register(link, 0)
    timer: asyncio.Handle

    def look() -> None:
        nonlocal timer
        if supervisor.poll(0):
            os._exit(1)
        timer = loop.call_later(_LOOK_SECONDS, look)

    timer = loop.call_soon(look)
    try:
        yield
    finally:
        timer.cancel()


def _crew(seat: Seat, state: SharedState, engine: Engine) -> Crew:
    peers = Peers(state, engine, seat.count)
    registry = SharedRegistry(state)
    recovery = Recovery(state, registry, seat.count, f"{seat.folder}/recovering")
    return Crew(seat.number, registry, peers, VolumesOfPeers(peers, state), state, recovery)


@contextlib.asynccontextmanager
async def _reading_letters(state: SharedState, crew: Crew, loop: asyncio.AbstractEventLoop) -> AsyncIterator[None]:
    def read(letter: Letter) -> None:
        if letter[0] != MESSAGE:
            crew.peers.receive(letter)
        elif crew.held is not None:
            crew.held.append(letter)
        else:
            crew.registry.receive(letter)

    state.answer_bell(loop, read, crew.volumes.changes.read)
    try:
        yield
    finally:
        state.leave_bell(loop)


def _controlled(seat: Seat, runtime: Runtime, work: Work) -> AbstractAsyncContextManager[None]:
    commands = {
        "status": status_command(runtime),
        **handle_commands(runtime),
        "trace": trace_command(runtime.tracing),
        **work.more(runtime),
    }
    return answering(seat.control, commands)


@contextlib.asynccontextmanager
async def _linked(seat: Seat, runtime: Runtime, stop: asyncio.Event) -> AsyncIterator[None]:
    """Take connections from the supervisor inside."""
    loop = asyncio.get_running_loop()
    adopting: set[asyncio.Future[None]] = set()
    server = runtime.server
    elsewhere = server.elsewhere
    assert elsewhere is not None
    mover = elsewhere.mover

    def heard(message: Mapping[str, Any], passed: socket.socket | None) -> None:
        if message["what"] == "listening":
            elsewhere.listening = tuple((str(address), int(port)) for address, port in message["names"])
        elif passed is not None:
            adopted = loop.create_task(_adopt(runtime, passed, link, mover, message))
            adopting.add(adopted)
            adopted.add_done_callback(adopting.discard)

    def left_alone() -> None:
        # Others may have ended before it, and nobody would tell of that: who is asked may never answer.
        loop.call_later(_SECONDS_WITHOUT, os._exit, 1)
        stop.set()

    link = Link(loop, socket.socket(fileno=seat.link), heard, left_alone)
    mover.link = link
    elsewhere.expect_clients()
    link.send({"what": "ready"})
    try:
        yield
    finally:
        link.send({"what": "stopped", "statistics": dict(server.statistics)})
        link.close()


async def _adopt(
    runtime: Runtime, connection: socket.socket, link: Link, mover: Mover, message: Mapping[str, Any]
) -> None:
    def ended() -> None:
        mover.numbers.pop(transport, None)
        link.send({"what": "ended", "number": message["number"]})

    transport = AcceptedTransport(runtime.server, ended)
    messages = messages_of(message)
    if messages is None:
        mover.numbers[transport] = message["number"]
    try:
        await runtime.server.adopt(connection, transport)
    except OSError as error:
        log.info("a connection has ended before it was taken over: %s", error)
        connection.close()
        ended()
        return
    if messages is not None:
        transport.begin_again(*messages)
