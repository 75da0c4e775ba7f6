"""Threads of a module's own: a call that hangs costs its place and nothing else, and nobody waits for it for good."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.token import SERVER_TOKEN
from lamina.vfs_modules.workers import Answer, Workers

PATIENCE = 30.0
NONE = 0.0


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(2, "test")
    yield made
    made.close()


def as_requests(*functions: Callable[[], object]) -> list[object]:
    """What each returned or raised, run as requests at the same time."""

    async def work() -> list[object]:
        engine = Engine(asyncio.get_running_loop())
        found: list[object] = await asyncio.gather(*map(engine.run, functions), return_exceptions=True)
        engine.close()
        return found

    return asyncio.run(work())


def test_a_call_returns_or_raises_what_the_function_does(workers: Workers) -> None:
    assert as_requests(
        lambda: workers.call(PATIENCE, divmod, 7, 3), lambda: workers.call(PATIENCE, os.fsencode, "a")
    ) == [(2, 1), b"a"]
    (error,) = as_requests(lambda: workers.call(PATIENCE, int, "x"))
    assert isinstance(error, ValueError)


def test_it_is_another_thread_and_the_loop_goes_on_meanwhile(workers: Workers) -> None:
    gate = threading.Event()

    def waits() -> int:
        assert gate.wait(PATIENCE)
        return threading.get_ident()

    ident, _ = as_requests(lambda: workers.call(PATIENCE, waits), gate.set)
    assert ident != threading.get_ident()


def test_several_calls_are_made_at_the_same_time_and_answered_in_order(workers: Workers) -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def meets(number: int) -> int:
        meeting.wait()
        return number

    several = [(number,) for number in range(4)]
    assert as_requests(lambda: workers.call_each(PATIENCE, meets, several)) == [[0, 1, 2, 3]]
    assert workers.call_each(PATIENCE, divmod, [(7, 3), (9, 2)]) == [(2, 1), (4, 1)]


def test_of_several_calls_those_that_have_not_begun_are_left_out_when_one_fails(workers: Workers) -> None:
    gate, begun = threading.Event(), []

    def work(number: int) -> None:
        begun.append(number)
        if not number:
            raise FileNotFoundError(errno.ENOENT, "gone")
        assert gate.wait(PATIENCE)

    def ask() -> None:
        try:
            workers.call_each(PATIENCE, work, [(number,) for number in (0, 1, 2, 3)])
        finally:
            gate.set()

    (error,) = as_requests(ask)
    assert isinstance(error, FileNotFoundError)
    as_requests(*[lambda: workers.call(PATIENCE, int)] * 2)
    assert 3 not in begun


def test_no_more_threads_than_allowed_and_none_before_they_are_needed(workers: Workers) -> None:
    assert workers.threads == 0
    as_requests(lambda: workers.call(PATIENCE, int))
    assert workers.threads == 1
    both = threading.Barrier(2, timeout=PATIENCE)
    as_requests(*[lambda: workers.call(PATIENCE, both.wait)] * 2)
    as_requests(*[lambda: workers.call(PATIENCE, int)] * 20)
    assert workers.threads == 2


def test_who_asks_what_hangs_is_told_in_time_and_what_comes_late_is_cleared_up(workers: Workers) -> None:
    begun, gate, cleared = threading.Event(), threading.Event(), threading.Event()
    late: list[str] = []

    def hangs() -> str:
        begun.set()
        gate.wait(PATIENCE)
        return "handle"

    def clear(handle: str) -> None:
        late.append(handle)
        cleared.set()

    while not begun.is_set():
        (error,) = as_requests(lambda: workers.call(0.05, hangs, late=clear))
        assert isinstance(error, OSError)
        assert error.errno == errno.ETIMEDOUT
    gate.set()
    assert cleared.wait(PATIENCE)
    assert late == ["handle"]


def test_a_thread_lives_on_where_clearing_up_fails(caplog: pytest.LogCaptureFixture) -> None:
    workers, begun, gate = Workers(1, "test"), threading.Event(), threading.Event()

    def hangs() -> bool:
        begun.set()
        return gate.wait(PATIENCE)

    while not begun.is_set():
        as_requests(lambda: workers.call(0.05, hangs, late=lambda _: 1 // 0))
    gate.set()
    assert as_requests(lambda: workers.call(PATIENCE, int)) == [0]
    assert "could not be cleared up" in caplog.text
    workers.close()


def test_a_call_that_did_not_begin_in_time_never_begins(workers: Workers) -> None:
    gate = threading.Event()
    begun: list[int] = []
    hanging = [lambda: workers.call(0.05, gate.wait, PATIENCE)] * 2
    told = as_requests(*hanging, lambda: workers.call(NONE, begun.append, 1))
    assert [getattr(one, "errno", None) for one in told] == [errno.ETIMEDOUT] * 3
    gate.set()
    assert as_requests(lambda: workers.call(PATIENCE, len, begun)) == [0]


def test_a_request_that_is_cancelled_has_its_answer_first(workers: Workers) -> None:
    gate = threading.Event()
    seen: list[object] = []

    async def work() -> None:
        engine = Engine(asyncio.get_running_loop())

        def request() -> None:
            seen.append(workers.call(PATIENCE, lambda: gate.wait(PATIENCE)))
            try:
                workers.call(PATIENCE, int)
            except RequestCancelled:
                seen.append("cancelled")

        task = Task()
        engine.spawn(task, request)
        task.cancel()
        assert not task.is_interruptible
        assert seen == []
        gate.set()
        while not task.done:
            await asyncio.sleep(0)
        engine.close()

    asyncio.run(work())
    assert seen[0] is True


def test_threads_act_as_the_server_whoever_made_them(workers: Workers) -> None:
    (ids,) = as_requests(lambda: workers.call(PATIENCE, Path("/proc/thread-self/status").read_text))
    uid = next(line for line in str(ids).splitlines() if line.startswith("Uid:"))
    assert uid.split()[4] == str(SERVER_TOKEN.uid)


def test_outside_of_a_request_it_is_just_called(workers: Workers) -> None:
    assert workers.call(PATIENCE, threading.get_ident) == threading.get_ident()


def test_who_was_let_go_is_not_called_any_more() -> None:
    workers = Workers(1, "test")
    workers.close()
    (error,) = as_requests(lambda: workers.call(PATIENCE, int))
    assert isinstance(error, OSError)
    assert error.errno == errno.ESHUTDOWN


def test_an_answer_may_be_there_before_it_is_asked_for() -> None:
    def asks() -> int:
        answer: Answer[int] = Answer()
        answer.give(1)
        return answer.get(NONE)

    assert as_requests(asks) == [1]


def test_an_answer_is_given_by_whatever_thread_and_waited_for_outside_of_requests_too() -> None:
    def asks() -> int:
        answer: Answer[int] = Answer()
        threading.Thread(target=answer.give, args=(2,)).start()
        return answer.get(PATIENCE)

    assert as_requests(asks) == [2]
    assert asks() == 2


def test_an_answer_that_comes_late_is_given_to_who_clears_up() -> None:
    late: list[int] = []
    answer: Answer[int] = Answer(late.append)
    with pytest.raises(TimeoutError):
        answer.get(NONE)
    assert answer.is_abandoned
    answer.give(3)
    answer.fail(OSError())
    assert late == [3]
