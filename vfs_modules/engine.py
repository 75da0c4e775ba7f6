"""The request engine: plain synchronous code that may wait, on one event loop, in reused greenlets.

A request runs in a greenlet on the loop. Most finish inside the callback that started them. One that must
wait calls `wait(awaitable)`: it is parked where it stands, the loop serves others, and it goes on with the
result. A system call that may sleep goes through `offload`, on a worker thread that has taken on the token's
credentials. Nothing is ever replayed.

Outside a request (a unit test, a tool) `offload` simply calls, and `wait` refuses.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import greenlet

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

MAX_IDLE_GREENLETS = 256
"""Idle greenlets kept for reuse; a burst beyond that is given back to the allocator."""


class RequestCancelled(BaseException):
    """Raised in a parked request whose client cancelled it or is gone; a BaseException that no module swallows."""


class Task:
    """One request being run. `on_park(indefinite)` is called each time it starts to wait.

    `since`: the moment (time.monotonic) at which it began to wait for something that should come soon; 0 while it runs
    or waits for somebody.
    """

    __slots__ = ("_cancelled", "_ends", "_future", "_worker", "on_park", "since")

    def __init__(self, on_park: Callable[[bool], None] | None = None) -> None:
        self.on_park = on_park
        self._worker: _Worker | None = None
        self._future: asyncio.Future[Any] | None = None
        self._cancelled: BaseException | None = None
        self._ends: BaseException | None = None
        self.since = 0.0

    @property
    def frame(self) -> FrameType | None:
        """Where it waits; None while it runs, and after its end."""
        return self._worker.gr_frame if self._worker is not None else None

    @property
    def is_interruptible(self) -> bool:
        """Whether it waits for something that need not be awaited: `cancel` acts at once."""
        return self._future is not None

    @property
    def done(self) -> bool:
        """Whether the request has ended."""
        return self._worker is None

    def cancel(self, reason: BaseException | None = None, at_once: bool = False) -> None:
        """Raise `reason` (default RequestCancelled) where the request waits, or where it next would.

        A request whose system call is on a worker thread is left alone until that call is over. `at_once`: not when the
        loop is next free, but now; only from outside of requests.
        """
        worker = self._worker
        if worker is None or self._cancelled is not None:
            return
        self._cancelled = reason or RequestCancelled()
        if self._future is not None and at_once:
            self._interrupt(self._future)
        elif self._future is not None:
            worker.engine.loop.call_soon(self._interrupt, self._future)

    def end_waiting(self, reason: BaseException) -> None:
        """Raise `reason` where the request waits for somebody (`wait`, indefinite), or where it next would.

        What it is doing otherwise, it does to the end.
        """
        if self._future is not None and not self.since:
            self.cancel(reason)
        else:
            self._ends = reason

    def forget(self, kind: type[BaseException]) -> None:
        """Drop a cancellation of that kind that nothing has waited long enough to notice."""
        if isinstance(self._cancelled, kind):
            self._cancelled = None
        if isinstance(self._ends, kind):
            self._ends = None

    def _interrupt(self, future: "asyncio.Future[Any]") -> None:
        reason = self._cancelled
        if self._future is future and self._worker is not None and reason is not None:
            # Raised once: what the request does about it may itself have to wait.
            self._future = self._cancelled = None
            future.cancel()
            self._worker.throw(reason)

    def _wake(self, future: "asyncio.Future[Any]") -> None:
        if self._future is future and self._worker is not None:
            self._future = None
            self._worker.switch()


class _Worker(greenlet.greenlet):
    """A greenlet that runs one task after the other."""

    __slots__ = ("arguments", "engine", "function", "task")

    def __init__(self, engine: "Engine") -> None:
        super().__init__(parent=engine.hub)
        self.engine = engine
        self.task: Task | None = None
        self.function: Callable[..., Any] | None = None
        self.arguments: tuple[Any, ...] = ()

    def run(self) -> None:
        """Run tasks until the pool of idle greenlets is full."""
        engine = self.engine
        while True:
            self._run_one()
            if len(engine._idle) >= MAX_IDLE_GREENLETS or engine.closed:
                return
            engine._idle.append(self)
            engine.hub.switch()

    def _run_one(self) -> None:
        assert self.function is not None
        try:
            self.function(*self.arguments)
        except RequestCancelled:
            pass
        except greenlet.GreenletExit:
            raise
        except BaseException:
            # Whoever spawns handles its own failures; this is the net that keeps the loop alive.
            log.exception("a request ended with an unexpected error; this is a bug in Lamina or in a module")
        finally:
            task = self.task
            if task is not None:
                task._worker = None
            self.task = self.function = None
            self.arguments = ()
            self.engine.running -= 1
            self.engine._busy.discard(self)


class Engine:
    """Runs requests on the event loop of the thread it is made in. One per loop; no global state."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int = 16) -> None:
        """`threads`: how many system calls may sleep at a time."""
        self.loop = loop
        self.hub = greenlet.getcurrent()
        self.running = 0
        self.closed = False
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lamina-io")

    def spawn(self, task: Task, function: Callable[..., Any], *arguments: Any) -> None:
        """Run `function(*arguments)` now, until it ends or waits. `function` must handle its own errors.

        Called from inside a request, the new one starts when the loop is next free.
        """
        if greenlet.getcurrent() is not self.hub:
            self.loop.call_soon(self._start, task, function, arguments)
        else:
            self._start(task, function, arguments)

    def _start(self, task: Task, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self)
        self._busy.add(worker)
        worker.task = task
        worker.function = function
        worker.arguments = arguments
        task._worker = worker
        self.running += 1
        worker.switch()

    def go_on_as(self, task: Task) -> None:
        """What is running is another request from now on: for those that are worked on one after the other.

        To be called inside a request. The one that was running has ended.
        """
        worker = greenlet.getcurrent()
        assert isinstance(worker, _Worker)
        if worker.task is not None:
            worker.task._worker = None
        worker.task = task
        task._worker = worker

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `function` as a request and await its result; for server code that is itself asynchronous."""
        outcome: asyncio.Future[_T] = self.loop.create_future()

        def body() -> None:
            try:
                result = function(*args, **kwargs)
            except RequestCancelled:
                outcome.cancel()
            except greenlet.GreenletExit:
                # The engine is closed: nobody is told of it as of a failure.
                outcome.cancel()
                raise
            except BaseException as error:
                if not outcome.cancelled():
                    outcome.set_exception(error)
            else:
                if not outcome.cancelled():
                    outcome.set_result(result)

        task = Task()
        # From a coroutine the hub is the current greenlet: uvloop and asyncio run them on the loop's own.
        self._start(task, body, ())
        try:
            return await outcome
        except asyncio.CancelledError:
            task.cancel()
            raise

    def statistics(self) -> dict[str, int]:
        """Counts of requests running or parked, and of idle greenlets."""
        return {"running": self.running, "idle_greenlets": len(self._idle)}

    def close(self) -> None:
        """Let go of the threads and the greenlets. Requests that are still parked end where they are.

        Nothing may be left to the garbage collector, which would free it in whatever thread it runs.
        """
        self.closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        idle, self._idle = self._idle, []
        for worker in (*idle, *self._busy):
            if not worker.dead:
                worker.throw(greenlet.GreenletExit)
        # The main greenlet ends with its thread, whoever still refers to it: a later collection would find it freed.
        if hasattr(self, "hub"):
            del self.hub


def current_task() -> Task | None:
    """The request that is running, or None outside of one."""
    worker = greenlet.getcurrent()
    return worker.task if isinstance(worker, _Worker) else None


def _park(worker: _Worker, future: "asyncio.Future[Any]", indefinite: bool) -> None:
    task = worker.task
    assert task is not None
    if worker.engine.closed:
        future.cancel()
        raise RequestCancelled
    reason, task._cancelled = task._cancelled, None
    if reason is not None:
        future.cancel()
        raise reason
    if indefinite and task._ends is not None:
        reason, task._ends = task._ends, None
        future.cancel()
        raise reason
    if task.on_park is not None:
        try:
            task.on_park(indefinite)
        except BaseException:
            # Whoever runs the request does not let it wait.
            future.cancel()
            raise
    task._future = future
    future.add_done_callback(task._wake)
    task.since = 0.0 if indefinite else time.monotonic()
    try:
        worker.engine.hub.switch()
    finally:
        task.since = 0.0


def wait(awaitable: Awaitable[_T], *, indefinite: bool = False) -> _T:
    """Park the request until `awaitable` is done, and return its result or raise its error.

    `indefinite` says that the wait is for somebody else (a lock, an event), so that the client is told at once
    that its request is pending (MS-SMB2 3.3.4.2). Raises RequestCancelled when the client gives up.
    """
    worker = greenlet.getcurrent()
    if not isinstance(worker, _Worker):
        raise RuntimeError("wait() was called outside a request: only code run by the request engine may wait")
    future = asyncio.ensure_future(awaitable, loop=worker.engine.loop)
    if not future.done():
        _park(worker, future, indefinite)
    return future.result()


def breathe() -> None:
    """Let other requests run; for the middle of long work. Raises RequestCancelled where the client has given up.

    Outside a request nothing happens.
    """
    worker = greenlet.getcurrent()
    if isinstance(worker, _Worker):
        turn: asyncio.Future[None] = worker.engine.loop.create_future()
        worker.engine.loop.call_soon(_end_turn, turn)
        wait(turn)


def sleep(seconds: float, indefinite: bool = False) -> None:
    """Let the request sleep while others go on; outside a request the thread sleeps. `indefinite`: see `wait`."""
    if current_task() is not None:
        wait(asyncio.sleep(seconds), indefinite=indefinite)
    else:
        time.sleep(seconds)


def aside(function: Callable[..., object], *arguments: Any) -> None:
    """Run `function` as a request of its own, when the loop is next free; it must handle its own errors.

    For work that nobody is to wait for. Outside a request it is done now.
    """
    worker = greenlet.getcurrent()
    if isinstance(worker, _Worker):
        worker.engine.spawn(Task(), function, *arguments)
    else:
        function(*arguments)


def _end_turn(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)


def _call_as(token: ImpersonationToken, function: Callable[..., _T], args: tuple[Any, ...]) -> _T:
    assume(token)
    return function(*args)


def offload(token: ImpersonationToken, function: Callable[..., _T], *args: Any) -> _T:
    """Call `function(*args)` on a worker thread with the token's credentials, parked meanwhile.

    It is not interrupted once begun: a thread inside a system call must not have its handle closed under it.
    """
    worker = greenlet.getcurrent()
    if not isinstance(worker, _Worker):
        return _call_as(token, function, args)
    task = worker.task
    assert task is not None
    engine = worker.engine
    if engine.closed:
        raise RequestCancelled
    if task.on_park is not None:
        task.on_park(False)
    thread_future = engine._pool.submit(_call_as, token, function, args)
    thread_future.add_done_callback(lambda _: _resume(engine, worker))
    task.since = time.monotonic()
    try:
        engine.hub.switch()
    finally:
        task.since = 0.0
    return thread_future.result()


def _resume(engine: Engine, worker: _Worker) -> None:
    try:
        engine.loop.call_soon_threadsafe(worker.switch)
    except RuntimeError:
        # The loop is closed: the server is gone and nobody waits for this answer.
        log.debug("a system call ended after its event loop was closed")


__all__ = ["Engine", "RequestCancelled", "Task", "aside", "breathe", "current_task", "offload", "sleep", "wait"]
