"""The supervisor of a server's workers: it starts them, gives them connections, and buries those that die.

It has no clients itself and touches no file of a share. A worker that ends by itself is started again; what it had
open is closed first, and the others are told.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from lamina.core.runtime import StartError
from lamina.core.settings import Limits
from lamina.core.workers.common_folder import Hold, make_folder
from lamina.core.workers.link import Link, pair
from lamina.core.workers.placement import Placement
from lamina.core.workers.reception import Reception
from lamina.core.workers.seat import Seat
from lamina.ntfsa.workers.peers import BACK, GONE
from lamina.ntfsa.workers.shared_registry import bury
from lamina.ntfsa.workers.shared_state import SharedState

log = logging.getLogger(__name__)

_SHORT_LIFE: Final = 10.0
_LONGEST_PAUSE: Final = 30.0
_SECONDS_TO_END: Final = 20.0


class _Placed(NamedTuple):
    """A connection on its way to a worker, and what that one is told of it."""

    connection: socket.socket
    peer: str
    guid: bytes
    more: Mapping[str, Any]


class Worker:
    """A worker process. `connections`: those it has, by number, with the address and the guid of each client."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self.number = number
        self.process = process
        self.link: Link | None = None
        self.connections: dict[int, tuple[str, bytes]] = {}
        self.started_at = time.monotonic()
        self.ready = asyncio.get_running_loop().create_future()
        self.statistics: Mapping[str, int] = {}


class Supervisor:
    """Runs `count` processes of `command`, to which the seat of each is added as the last argument."""

    def __init__(self, command: Sequence[str], count: int, limits: Limits) -> None:
        self.count = count
        self.workers: dict[int, Worker] = {}
        self.statistics: Counter[str] = Counter()
        self.folder = ""
        self._hold: Hold | None = None
        self.restarts = 0
        self._command = tuple(command)
        self._loop = asyncio.get_running_loop()
        self._guid = secrets.token_hex(16)
        self._placement = Placement()
        self._numbers = itertools.count(1)
        self._bells: dict[int, int] = {}
        self._state: SharedState | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._early_ends: Counter[int] = Counter()
        self._held: dict[int, list[_Placed]] = {}
        self._started = False
        self._stopping = False
        self.reception = Reception(self._loop, limits, self._place)
        self.ended: Callable[[int, int], None] = lambda _number, _status: None
        """Told of each worker that has ended by itself: its number and its exit status."""

    async def start(self) -> None:
        """Start the workers and return when all are ready. Raises StartError."""
        self.folder, self._hold = make_folder()
        self._bells = {number: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for number in self._all()}
        self._state = SharedState(Path(self.folder), 0, self._bells)
        for number in self._all():
            await self._spawn(number)
        await asyncio.wait([worker.ready for worker in self.workers.values()])
        if not all(worker.ready.result() for worker in self.workers.values()):
            raise StartError("a worker could not start")
        self._started = True

    def _all(self) -> range:
        return range(1, self.count + 1)

    async def listen(self, address: str, port: int) -> int:
        """Accept connections; see `Reception.listen`."""
        bound = await self.reception.listen(address, port)
        self._tell_names()
        return bound

    def stop_listening(self, address: str, port: int) -> None:
        """See `Reception.stop_listening`."""
        self.reception.stop_listening(address, port)
        self._tell_names()

    def _tell_names(self) -> None:
        for worker in self.workers.values():
            self._tell_names_to(worker)

    def _tell_names_to(self, worker: Worker) -> None:
        if worker.link is not None:
            worker.link.send({"what": "listening", "names": self.reception.names()})

    # -- processes ----------------------------------------------------------------------------------------------

    async def _spawn(self, number: int) -> None:
        ours, theirs = pair()
        with theirs:
            seat = Seat(number, self.count, self.folder, theirs.fileno(), self._bells, self._guid)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                seat.as_text(),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *self._bells.values()),
            )
        worker = self.workers[number] = Worker(number, process)
        worker.link = Link(self._loop, ours, lambda message, passed: self._heard(worker, message, passed), lambda: None)
        self._tell_names_to(worker)
        for waiting in self._held.pop(number, ()):
            self._hand_on(worker, worker.link, waiting)
        self._in_background(self._watch(worker))

    def _in_background(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _heard(self, worker: Worker, message: Mapping[str, Any], passed: socket.socket | None) -> None:
        what = message["what"]
        if what == "ready":
            self._placement.workers.add(worker.number)
            if not worker.ready.done():
                worker.ready.set_result(True)
        elif what == "clients":
            for guid in message["guids"]:
                self._placement.expect(bytes.fromhex(guid), worker.number)
        elif what == "ended":
            self._connection_ended(worker, message["number"])
        elif what == "back" and passed is not None:
            self._handed_back(worker, message, passed)
        elif what == "stopped":
            self.statistics.update(message["statistics"])

    async def _watch(self, worker: Worker) -> None:
        status = await worker.process.wait()
        was_ready = worker.ready.done()
        if not was_ready:
            worker.ready.set_result(False)
            if not self._started:
                return
        self._bury(worker)
        if self._stopping:
            return
        log.error("worker %d has ended (status %d); it is started again", worker.number, status)
        self.ended(worker.number, status)
        await self._start_again(worker, failed=status != -signal.SIGKILL or not was_ready)

    def _bury(self, worker: Worker) -> None:
        assert self._state is not None
        self._held.setdefault(worker.number, [])
        if worker.link is not None:
            worker.link.close()
        self._placement.ended(worker.number)
        for peer, _ in worker.connections.values():
            self.reception.gone_from(peer)
        worker.connections.clear()
        buried = bury(self._state, worker.number)
        if buried:
            log.info("worker %d had %d files open, which are closed", worker.number, buried)
        self._state.post(set(self._all()) - {worker.number}, (GONE, worker.number))

    async def _start_again(self, worker: Worker, failed: bool) -> None:
        """`failed`: it was not killed from outside in the middle of its work, so that the next may fail as well."""
        number = worker.number
        lived = time.monotonic() - worker.started_at
        self._early_ends[number] = self._early_ends[number] + 1 if failed and lived < _SHORT_LIFE else 0
        if self._early_ends[number] > 1:
            await asyncio.sleep(min(2.0 ** self._early_ends[number] / 2, _LONGEST_PAUSE))
        if self._stopping:
            return
        assert self._state is not None
        self._state.post(set(self._all()) - {number}, (BACK, number))
        self.restarts += 1
        await self._spawn(number)

    # -- connections --------------------------------------------------------------------------------------------

    def _place(
        self, connection: socket.socket, peer: str, guid: bytes, more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Give a connection to the worker of its client; `more`: what that one must know of it."""
        number = self._placement.place(guid)
        worker = self.workers.get(number) if number is not None else None
        if number is not None and number in self._held:
            self._held[number].append(_Placed(connection, peer, guid, more))
        elif worker is None or worker.link is None:
            log.warning("closing the connection from %s: no worker is there", peer)
            connection.close()
            self.reception.gone_from(peer)
        else:
            self._hand_on(worker, worker.link, _Placed(connection, peer, guid, more))

    def _hand_on(self, worker: Worker, link: Link, what: "_Placed") -> None:
        known_as = next(self._numbers)
        worker.connections[known_as] = what.peer, what.guid
        link.send({"what": "connection", "number": known_as, **what.more}, what.connection)

    def _handed_back(self, worker: Worker, message: Mapping[str, Any], connection: socket.socket) -> None:
        """A worker has learned whose a connection is (see `moving`)."""
        peer, guid = worker.connections.pop(message["number"], ("", b""))
        self._placement.leave(guid, worker.number)
        self._place(connection, peer, bytes.fromhex(message["guid"]), {"messages": message["messages"]})

    def _connection_ended(self, worker: Worker, known_as: int) -> None:
        entry = worker.connections.pop(known_as, None)
        if entry is not None:
            peer, guid = entry
            self._placement.leave(guid, worker.number)
            self.reception.gone_from(peer)

    # -- end ----------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Accept no more, end the workers, and leave nothing behind. Those that do not end are killed."""
        self._stopping = True
        self.reception.close()
        living = [worker.process for worker in self.workers.values() if worker.process.returncode is None]
        for process in living:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        ends = [asyncio.ensure_future(process.wait()) for process in living]
        if ends:
            await asyncio.wait(ends, timeout=_SECONDS_TO_END)
        for process in living:
            if process.returncode is None:
                log.error("worker process %d does not end and is killed", process.pid)
                process.kill()
        await asyncio.gather(*ends, *self._tasks, return_exceptions=True)
        for placed in itertools.chain.from_iterable(self._held.values()):
            placed.connection.close()
        if self._state is not None:
            self._state.close()
        for bell in self._bells.values():
            os.close(bell)
        if self._hold is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._hold.close()
