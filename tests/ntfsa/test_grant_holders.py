"""Who holds caching rights, over a volume whose operations park their requests."""

import asyncio

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.grant_holders import acknowledge_oplock_break
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.delay import DelayModule, DelayOptions
from lamina.vfs_modules.dos_attributes import DosAttributesModule
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.memory import MemoryBackend


class Held:
    """An open with an oplock, and what its client is told."""

    def __init__(self, share, level, **asked):
        result = share.create("file", c.FILE_OPEN_IF, oplock_level=level, **asked)
        self.open = result.open
        self.level = result.oplock_level
        self.told = []
        self.open.oplock.listener = lambda notice: self.told.append((notice.to, notice.answer_awaited)) or True


class Requests:
    """Requests on one loop."""

    def __init__(self):
        self.engine = Engine(asyncio.get_running_loop(), threads=1)
        self.outcomes = {}

    def start(self, name, function, *args, **kwargs):
        def run():
            try:
                self.outcomes[name] = function(*args, **kwargs)
            except NtStatusError as error:
                self.outcomes[name] = error.status
            except RequestCancelled:
                self.outcomes[name] = "cancelled"

        task = Task()
        self.engine.spawn(task, run)
        return task

    async def settle(self):
        for _ in range(10):
            await asyncio.sleep(0)

    async def end(self):
        await self.settle()
        assert not self.engine.running
        self.engine.close()


def scenario(body):
    async def main():
        requests = Requests()
        await body(requests)
        await requests.end()

    asyncio.run(main())


@pytest.mark.parametrize("operation", ["pwrite", "ftruncate"])
def test_who_begins_to_cache_while_data_changes_is_told_when_it_has(make_share, operation):
    delay = DelayModule(DelayOptions(operations=frozenset({operation})))
    share = make_share(delay, DosAttributesModule(), MemoryBackend())
    writer = share.open("file", c.FILE_CREATE)
    change = {
        "pwrite": lambda: share.write(writer, b"news"),
        "ftruncate": lambda: share.set(writer, c.FILE_END_OF_FILE_INFORMATION, bytes(8)),
    }[operation]

    async def body(requests):
        delay.hold()
        requests.start("change", change)
        assert delay.parked
        held = Held(share, LEVEL_II)
        assert (held.level, held.told) == (LEVEL_II, [])
        delay.release()
        await requests.settle()
        assert "change" in requests.outcomes
        assert held.told == [(0, False)]

    scenario(body)


def test_a_holder_that_cannot_be_told_is_not_waited_for(share):
    held = Held(share, BATCH)
    held.open.oplock.listener = lambda notice: False
    assert share.status("file") is S.SUCCESS
    held.open.oplock.listener = None
    assert share.create("file", oplock_level=BATCH).oplock_level == LEVEL_II


def test_a_name_that_leads_elsewhere_after_the_break_is_looked_up_again(share):
    held = Held(share, BATCH)

    async def body(requests):
        requests.start("open", share.open, "file", c.FILE_OPEN_IF)
        assert held.told == [(1, True)]
        share.rename(held.open, "moved")
        acknowledge_oplock_break(held.open, NONE)
        await requests.settle()
        opened = requests.outcomes["open"]
        assert opened.path == "file"
        assert opened.file_key != held.open.file_key

    scenario(body)


def test_a_cancelled_open_leaves_nothing(share):
    held = Held(share, BATCH)

    async def body(requests):
        task = requests.start("open", share.open, "file")
        await requests.settle()
        task.cancel()
        await requests.settle()
        assert requests.outcomes == {"open": "cancelled"}
        assert share.volume.open_count() == 1
        record = share.registry.read(held.open.file_key)
        assert not record.grants[0].waiters
        assert acknowledge_oplock_break(held.open, LEVEL_II) == 1

    scenario(body)


def test_many_that_wait_for_one_break_all_get_in(share):
    held = Held(share, BATCH)

    async def body(requests):
        for number in range(20):
            requests.start(number, share.open, "file", oplock_level=LEVEL_II)
        assert held.told == [(1, True)]
        acknowledge_oplock_break(held.open, LEVEL_II)
        await requests.settle()
        assert len(requests.outcomes) == 20
        levels = [grant.state for grant in share.registry.read(held.open.file_key).grants]
        assert levels == [1] * 21

    scenario(body)
