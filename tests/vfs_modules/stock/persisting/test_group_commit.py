"""Many requests share a commit; each hears when its own is done."""

import asyncio
import threading

import pytest

from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.stock.persisting.group_commit import MAX_CHANGES, GroupCommit
from lamina.vfs_modules.stock.persisting.record_store import Change


class Disk:
    """Remembers what it was given; while `gate` is closed it is busy."""

    def __init__(self) -> None:
        self.batches: list[list[Change]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def apply(self, changes: list[Change]) -> None:
        assert self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        self.batches.append(changes)


def run(body):
    async def main():
        engine = Engine(asyncio.get_running_loop())
        try:
            await body(engine)
        finally:
            engine.close()

    asyncio.run(main())


def change(number: int) -> Change:
    return Change(b"%d" % number, b"value")


def test_those_that_wait_go_together_and_in_order() -> None:
    disk = Disk()

    async def body(engine: Engine) -> None:
        commits = GroupCommit(disk.apply)
        disk.gate.clear()
        first = asyncio.ensure_future(engine.run(commits.commit, [change(0)]))
        while not engine._pool._threads:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(engine.run(commits.commit, [change(n)])) for n in range(1, 40)]
        await asyncio.sleep(0)
        disk.gate.set()
        await asyncio.gather(first, *others)
        assert commits.commits == 2
        assert [c for batch in disk.batches for c in batch] == [change(n) for n in range(40)]

    run(body)


def test_nobody_waits_for_a_flood() -> None:
    disk = Disk()

    async def body(engine: Engine) -> None:
        commits = GroupCommit(disk.apply)
        flood = [engine.run(commits.commit, [change(n)] * 100) for n in range(20)]
        await asyncio.gather(*flood)
        assert all(len(batch) <= MAX_CHANGES for batch in disk.batches)
        assert sum(map(len, disk.batches)) == 2000

    run(body)


def test_a_failure_reaches_all_whose_commit_it_was_and_the_next_goes_on() -> None:
    disk = Disk()

    async def body(engine: Engine) -> None:
        commits = GroupCommit(disk.apply)
        disk.failure = OSError(28, "full")
        results = await asyncio.gather(
            *(engine.run(commits.commit, [change(n)]) for n in range(5)), return_exceptions=True
        )
        assert [getattr(result, "errno", None) for result in results] == [28] * 5
        disk.failure = None
        await engine.run(commits.commit, [change(9)])
        assert disk.batches == [[change(9)]]

    run(body)


def test_a_request_that_is_cancelled_leaves_its_change_to_be_made() -> None:
    disk = Disk()
    ended: list[str] = []

    async def body(engine: Engine) -> None:
        commits = GroupCommit(disk.apply)

        def request() -> None:
            try:
                commits.commit([change(1)])
            except RequestCancelled:
                ended.append("cancelled")
                raise

        disk.gate.clear()
        task = Task()
        engine.spawn(task, request)
        await asyncio.sleep(0)
        task.cancel()
        while not ended:
            await asyncio.sleep(0)
        disk.gate.set()
        await engine.run(commits.commit, [change(2)])
        assert [c for batch in disk.batches for c in batch] == [change(1), change(2)]

    run(body)


def test_outside_a_request_it_is_made_at_once() -> None:
    disk = Disk()
    GroupCommit(disk.apply).commit([change(1)])
    assert disk.batches == [[change(1)]]
    disk.failure = OSError(5, "broken")
    with pytest.raises(OSError, match="broken"):
        GroupCommit(disk.apply).commit([change(1)])
