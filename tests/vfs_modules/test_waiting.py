"""Waiting stops nobody else, can be cancelled anywhere, and leaves nothing behind. Judged by order and counts."""

import asyncio
from collections.abc import Iterator

import pytest

from lamina.vfs_modules.chain import Chain, build_chain
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task, current_task, wait
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing import make_token

TOKEN = make_token()
PARKED = 1000


class Slow:
    """A chain whose reads wait until they are released, and a file in it."""

    def __init__(self) -> None:
        self.delay = DelayModule(DelayOptions(operations=frozenset({"pread"})))
        self.chain: Chain = build_chain([self.delay, MemoryBackend()], ShareInfo("slow", "/nowhere"))
        self.chain.connect()
        self.root: VfsHandle = self.chain.open_root(TOKEN)
        self.file = self.chain.open(TOKEN, self.root, "file", OpenHow(Access.READ_WRITE, create=True))
        self.chain.pwrite(TOKEN, self.file, memoryview(b"data"), 0)
        self.finished: list[object] = []

    def read(self, number: int) -> None:
        buffer = bytearray(4)
        try:
            assert self.chain.pread(TOKEN, self.file, memoryview(buffer), 0) == 4
        except RequestCancelled:
            self.finished.append(("cancelled", number))
            raise
        self.finished.append(("read", number, bytes(buffer)))

    def look(self, number: int) -> None:
        assert self.chain.fstat(TOKEN, self.file).size == 4
        self.finished.append(("look", number))


@pytest.fixture
def slow() -> Iterator[Slow]:
    chain = Slow()
    yield chain
    assert chain.delay.parked == 0


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_thousand_parked_requests_stop_nobody(slow: Slow) -> None:
    async def main() -> None:
        engine = Engine(asyncio.get_running_loop())
        slow.delay.hold()
        tasks = [Task() for _ in range(PARKED)]
        for number, task in enumerate(tasks):
            engine.spawn(task, slow.read, number)
        assert slow.delay.parked == engine.statistics()["running"] == PARKED
        for number in range(PARKED):
            engine.spawn(Task(), slow.look, number)
        assert slow.finished == [("look", number) for number in range(PARKED)]
        assert slow.delay.parked == PARKED
        slow.finished.clear()
        slow.delay.release()
        await settle()
        assert slow.finished == [("read", number, b"data") for number in range(PARKED)]
        assert all(task.done for task in tasks)
        statistics = engine.statistics()
        assert statistics["running"] == 0
        assert statistics["idle_greenlets"] <= 256
        engine.close()

    asyncio.run(main())


def test_parked_requests_can_be_cancelled_one_by_one(slow: Slow) -> None:
    async def main() -> None:
        engine = Engine(asyncio.get_running_loop())
        slow.delay.hold()
        tasks = [Task() for _ in range(PARKED)]
        for number, task in enumerate(tasks):
            engine.spawn(task, slow.read, number)
        for task in tasks[::2]:
            task.cancel()
            task.cancel()
        await settle()
        assert slow.finished == [("cancelled", number) for number in range(0, PARKED, 2)]
        assert slow.delay.parked == PARKED // 2
        slow.delay.release()
        for task in tasks:
            task.cancel() if task.done else None
        await settle()
        assert slow.finished[PARKED // 2 :] == [("read", number, b"data") for number in range(1, PARKED, 2)]
        assert engine.statistics()["running"] == 0
        engine.close()

    asyncio.run(main())


def test_a_request_cancelled_after_its_release_but_before_it_ran_ends_once(slow: Slow) -> None:
    async def main() -> None:
        engine = Engine(asyncio.get_running_loop())
        slow.delay.hold()
        task = Task()
        engine.spawn(task, slow.read, 0)
        slow.delay.release()
        task.cancel()
        await settle()
        assert len(slow.finished) == 1
        assert task.done
        assert engine.statistics()["running"] == 0
        engine.close()

    asyncio.run(main())


def test_some_may_be_released_in_order(slow: Slow) -> None:
    async def main() -> None:
        engine = Engine(asyncio.get_running_loop())
        slow.delay.hold()
        for number in range(5):
            engine.spawn(Task(), slow.read, number)
        slow.delay.release(2)
        await settle()
        assert [item[1] for item in slow.finished] == [0, 1]  # type: ignore[index]
        slow.delay.release()
        await settle()
        assert len(slow.finished) == 5
        engine.close()

    asyncio.run(main())


def test_a_delay_by_time_waits_and_goes_on() -> None:
    async def main() -> None:
        engine = Engine(asyncio.get_running_loop())
        options = DelayOptions(seconds=0.001, operations=frozenset({"stat"}))
        chain = build_chain([DelayModule(options), MemoryBackend()], ShareInfo("slow", "/nowhere"))
        root = await engine.run(chain.open_root, TOKEN)
        assert (await engine.run(chain.stat, TOKEN, root, "")).nlink == 2
        engine.close()

    asyncio.run(main())


def test_only_operations_that_may_wait_can_be_delayed() -> None:
    with pytest.raises(ValueError, match="no operation that may wait is called prread, watch"):
        DelayOptions(operations=frozenset({"prread", "watch", "pread"}))


def test_waiting_outside_a_request_is_refused() -> None:
    with pytest.raises(RuntimeError, match="outside a request"):
        wait(asyncio.Future(loop=asyncio.new_event_loop()))


def test_who_runs_a_request_may_refuse_that_it_waits() -> None:
    async def main() -> tuple[list[object], bool]:
        engine = Engine(asyncio.get_running_loop(), threads=1)
        future: asyncio.Future[None] = engine.loop.create_future()
        seen: list[object] = []

        def refuse(indefinite: bool) -> None:
            if indefinite:
                raise PermissionError("not here")

        def request() -> None:
            try:
                wait(future, indefinite=True)
            except PermissionError:
                seen.append("refused")
            # It may go on, and wait for other things.
            wait(asyncio.sleep(0))
            seen.append("went on")

        engine.spawn(Task(refuse), request)
        while engine.running:
            await asyncio.sleep(0)
        engine.close()
        return seen, future.cancelled()

    assert asyncio.run(main()) == (["refused", "went on"], True)


class Enough(Exception):  # noqa: N818 - a reason, as RequestCancelled is one
    """Why somebody is to wait no longer."""


@pytest.mark.parametrize("first_ends", ["work", "wait"])
def test_who_is_to_wait_no_longer_still_ends_what_he_does(first_ends: str) -> None:
    """`Task.end_waiting` reaches whoever waits for somebody, at once or as soon as he does; not who is at work."""
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        engine = Engine(loop, threads=1)
        work, somebody = loop.create_future(), loop.create_future()

        def request() -> None:
            try:
                wait(work)
                seen.append("worked")
                wait(somebody, indefinite=True)
                seen.append("waited")
            except Enough:
                seen.append("enough")

        task = Task()
        engine.spawn(task, request)
        if first_ends == "wait":
            task.end_waiting(Enough())
        await settle()
        assert not seen
        work.set_result(None)
        await settle()
        if first_ends == "work":
            assert seen == ["worked"]
            task.end_waiting(Enough())
            await settle()
        assert somebody.cancelled()
        engine.close()

    asyncio.run(main())
    assert seen == ["worked", "enough"]


def test_a_request_that_ended_leaves_nothing_to_the_next_of_its_task() -> None:
    task = Task()
    task.end_waiting(Enough())
    task.forget(Enough)
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        engine = Engine(loop, threads=1)
        somebody = loop.create_future()
        engine.spawn(task, lambda: (wait(somebody, indefinite=True), seen.append("waited")))
        somebody.set_result(None)
        await settle()
        engine.close()

    asyncio.run(main())
    assert seen == ["waited"]


def test_what_still_waits_ends_with_the_engine() -> None:
    seen: list[str] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        engine = Engine(loop, threads=1)

        def waits() -> None:
            try:
                wait(loop.create_future(), indefinite=True)
            finally:
                seen.append("ended")
                with pytest.raises(RequestCancelled):
                    wait(loop.create_future())
                seen.append("did not wait again")

        engine.spawn(Task(), waits)
        assert engine.running == 1
        engine.close()
        assert engine.running == 0

    asyncio.run(serve())
    assert seen == ["ended", "did not wait again"]


def test_who_awaits_a_request_that_ends_with_the_engine_is_told_that_it_was_cancelled() -> None:
    async def main() -> bool:
        engine = Engine(asyncio.get_running_loop())
        waiting = asyncio.ensure_future(engine.run(lambda: wait(asyncio.get_running_loop().create_future())))
        await settle()
        engine.close()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    assert asyncio.run(main())


def test_one_greenlet_may_go_on_as_another_request() -> None:
    seen: list[object] = []

    async def main() -> None:
        engine = Engine(asyncio.get_running_loop(), threads=1)
        first, second, somebody = Task(), Task(), engine.loop.create_future()

        def run() -> None:
            seen.append(current_task() is first)
            engine.go_on_as(second)
            seen.append(current_task() is second)
            wait(somebody)
            seen.append("woken")

        engine.spawn(first, run)
        seen.append((first.done, second.done, second.is_interruptible))
        somebody.set_result(None)
        await settle()
        seen.append(second.done)
        engine.close()

    asyncio.run(main())
    assert seen == [True, True, (True, False, True), "woken", True]
