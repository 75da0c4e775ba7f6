"""Asking what may never answer: a store's library that blocks, or calls back on a thread of its own.

`engine.offload` is for system calls of this machine: its threads are the server's, and who asks waits until they come
back. A cluster may be away for a minute, or for good. So a backend of one has `Workers` of its own, whose calls have a
time limit: a share whose cluster hangs takes nothing from the others, and its clients are told in time. An `Answer` is
the same for a library that is asked without a thread, and calls back.

Like a system call, none of this is cancelled half way: the request goes on when the answer is there, or the time over.
"""

import asyncio
import contextlib
import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import greenlet

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task, current_task
from lamina.vfs_modules.token import SERVER_TOKEN

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_WAITED_FOR, _GIVEN, _ABANDONED = range(3)


class Answer(Generic[_T]):
    """One answer that another thread will give. The request that is to have it makes it, and calls `get` once.

    `late` is called with an answer that nobody waits for any more, on the thread that gives it: what it holds open is
    closed there.
    """

    __slots__ = ("_error", "_event", "_late", "_lock", "_loop", "_resume", "_state", "_value")

    def __init__(self, late: Callable[[_T], object] | None = None) -> None:
        self._late = late
        self._lock = threading.Lock()
        self._state = _WAITED_FOR
        self._value: _T | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resume: Callable[[], object] | None = None
        self._event: threading.Event | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._state == _ABANDONED

    def give(self, value: _T) -> None:
        """Bring it; on any thread, once."""
        self._value = value
        if self._set() or self._late is None:
            return
        try:
            self._late(value)
        except Exception:
            log.exception("what came too late could not be cleared up")

    def fail(self, error: BaseException) -> None:
        """Bring an error instead; on any thread, once."""
        self._error = error
        self._set()

    def _set(self) -> bool:
        with self._lock:
            if self._state == _ABANDONED:
                return False
            self._state = _GIVEN
            resume, event = self._resume, self._event
        if resume is not None and self._loop is not None:
            # Where the loop is closed the server has gone, and nobody waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(resume)
        elif event is not None:
            event.set()
        return True

    def get(self, seconds: float) -> _T:
        """Wait for it, but no longer than this many seconds: OSError(ETIMEDOUT), and the answer is then `late`."""
        task = current_task()
        if self._state != _GIVEN:
            try:
                if task is not None:
                    self._park(task, seconds)
                else:
                    self._sleep(seconds)
            finally:
                # Whatever has ended the wait: who gives the answer from now on is told that it is too late.
                given = self._state == _GIVEN or not self._abandon()
            if not given:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if self._error is not None:
            raise self._error
        return cast(_T, self._value)

    def _abandon(self) -> bool:
        with self._lock:
            if self._state == _GIVEN:
                return False
            self._state = _ABANDONED
            return True

    def _sleep(self, seconds: float) -> None:
        event = threading.Event()
        with self._lock:
            self._event = event
            waits = self._state == _WAITED_FOR
        if waits:
            event.wait(seconds)

    def _park(self, task: Task, seconds: float) -> None:
        worker = greenlet.getcurrent()
        engine: Engine = worker.engine  # type: ignore[attr-defined]
        if engine.closed:
            raise RequestCancelled
        parked = True

        def resume() -> None:
            nonlocal parked
            if parked:
                parked = False
                worker.switch()

        timer = engine.loop.call_later(seconds, resume)
        with self._lock:
            self._loop, self._resume = engine.loop, resume
            waits = self._state == _WAITED_FOR
        try:
            if waits:
                # Only who does begin to wait may say so: what follows it is then done by others.
                if task.on_park is not None:
                    task.on_park(False)
                task.since = time.monotonic()
                engine.hub.switch()
        finally:
            parked = False
            task.since = 0.0
            timer.cancel()


_Job = tuple[Answer[Any], Callable[..., Any], tuple[Any, ...]]


class Workers:
    """Up to `count` threads of a module's own, which act as the server; `title` names them.

    They are made as they are needed. A call that hangs keeps its thread, whose place no other takes: where all hang,
    who asks waits for his time and is told so.
    """

    def __init__(self, count: int, title: str) -> None:
        self._count, self._title = count, title
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._closed = False

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return self._threads

    def call(
        self, seconds: float, function: Callable[..., _T], *arguments: Any, late: Callable[[_T], object] | None = None
    ) -> _T:
        """Call `function(*arguments)` on one of the threads, parked meanwhile, and return or raise what it does.

        OSError(ETIMEDOUT) where that takes longer than this many seconds: a call that has not begun is left out then,
        and one that has goes on; `late` is called there with its result. Outside of a request it is just called.
        """
        if current_task() is None:
            return function(*arguments)
        answer: Answer[_T] = Answer(late)
        self._start(answer, function, arguments)
        return answer.get(seconds)

    def call_each(self, seconds: float, function: Callable[..., _T], several: Sequence[tuple[Any, ...]]) -> list[_T]:
        """Call `function` with each of several arguments, on several threads at the same time: the results in order.

        Raises what one of them raises, and OSError(ETIMEDOUT) where all of it takes longer than these seconds: calls
        that have not begun are left out then. Outside of a request they are made one after the other.
        """
        if current_task() is None:
            return [function(*arguments) for arguments in several]
        end = time.monotonic() + seconds
        answers: list[Answer[_T]] = [Answer() for _ in several]
        try:
            for answer, arguments in zip(answers, several, strict=True):
                self._start(answer, function, arguments)
            return [answer.get(max(end - time.monotonic(), 0.0)) for answer in answers]
        finally:
            for answer in answers:
                answer._abandon()

    def _start(self, answer: Answer[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN))
            if self._idle:
                self._idle -= 1
            elif self._threads < self._count:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._title}-{self._threads}", daemon=True).start()
            self._jobs.put((answer, function, arguments))

    def _work(self) -> None:
        # A thread begins with the credentials of whoever its maker was acting for just then.
        assume(SERVER_TOKEN)
        while (job := self._jobs.get()) is not None:
            answer, function, arguments = job
            if not answer.is_abandoned:
                _answer(answer, function, arguments)
            # What a thread is done with must not live until its next call.
            del job, answer, function, arguments
            with self._lock:
                self._idle += self._jobs.empty()

    def close(self) -> None:
        """Let the threads go; those in a call go when it ends. Nobody may call any more."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._jobs.put(None)


def _answer(answer: Answer[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        result = function(*arguments)
    except BaseException as error:
        answer.fail(error)
    else:
        answer.give(result)


__all__ = ["Answer", "Workers"]
