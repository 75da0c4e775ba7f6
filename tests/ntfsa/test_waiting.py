"""Requests that overlap because the file system makes them wait."""

import asyncio

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.operations import OPERATIONS
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend

MAY_WAIT = frozenset(name for name, operation in OPERATIONS.items() if operation.waits) - {"open_root"}


@pytest.fixture
def delayed(make_share):
    """A share in memory whose every operation parks its request while `hold` is on."""
    delay = DelayModule(DelayOptions(operations=MAY_WAIT))
    return make_share(delay, DosAttributesModule(), MemoryBackend()), delay


class Requests:
    """Requests on one loop, let on step by step."""

    def __init__(self, delay):
        self.delay = delay
        self.engine = Engine(asyncio.get_running_loop(), threads=1)
        self.outcomes = {}
        self.tasks = {}
        delay.hold()

    def start(self, name, function, *args, **kwargs):
        def run():
            try:
                self.outcomes[name] = function(*args, **kwargs)
            except NtStatusError as error:
                self.outcomes[name] = error.status
            except RequestCancelled:
                self.outcomes[name] = "cancelled"

        self.tasks[name] = Task()
        self.engine.spawn(self.tasks[name], run)

    async def finish(self):
        """Let one operation at a time go on until nothing is parked."""
        for _ in range(2000):
            self.delay.release(1)
            await asyncio.sleep(0)
            if not self.delay.parked and not self.engine.running:
                break
        assert not self.engine.running
        self.delay.release()
        self.engine.close()
        return self.outcomes


def scenario(body):
    asyncio.run(body())


def test_of_two_creations_one_wins(delayed):
    share, delay = delayed

    async def body():
        requests = Requests(delay)
        requests.start("a", share.status, "Name", c.FILE_CREATE)
        requests.start("b", share.status, "Name", c.FILE_CREATE)
        requests.start("c", share.status, "Name", c.FILE_OPEN_IF)
        outcomes = await requests.finish()
        assert sorted((outcomes["a"], outcomes["b"])) in (
            [S.SUCCESS, S.OBJECT_NAME_COLLISION],
            [S.OBJECT_NAME_COLLISION, S.OBJECT_NAME_COLLISION],
        )
        assert outcomes["c"] is S.SUCCESS

    scenario(body)


def test_an_exclusive_open_lets_nobody_beside_it(delayed):
    share, delay = delayed
    share.make("file")

    async def body():
        requests = Requests(delay)
        requests.start("a", share.open, "file", share_access=0)
        requests.start("b", share.open, "file", share_access=0)
        outcomes = await requests.finish()
        assert S.SHARING_VIOLATION in outcomes.values()
        assert sum(not isinstance(outcome, S) for outcome in outcomes.values()) == 1

    scenario(body)


def test_nobody_opens_what_is_being_deleted(delayed):
    share, delay = delayed
    opened = share.open("file", c.FILE_CREATE, options=c.FILE_DELETE_ON_CLOSE)

    async def body():
        requests = Requests(delay)
        requests.start("close", share.close, opened)
        requests.start("open", share.status, "file")
        outcomes = await requests.finish()
        assert outcomes["open"] in {S.DELETE_PENDING, S.OBJECT_NAME_NOT_FOUND}

    scenario(body)
    assert share.status("file") is S.OBJECT_NAME_NOT_FOUND


def test_many_misses_at_once_share_an_index(delayed):
    share, delay = delayed
    for i in range(20):
        share.make(f"Name{i}")

    async def body():
        requests = Requests(delay)
        for i in range(20):
            requests.start(f"hit{i}", share.status, f"nAME{i}")
            requests.start(f"miss{i}", share.status, f"other{i}")
        outcomes = await requests.finish()
        assert {outcomes[f"hit{i}"] for i in range(20)} == {S.SUCCESS}
        assert {outcomes[f"miss{i}"] for i in range(20)} == {S.OBJECT_NAME_NOT_FOUND}

    scenario(body)


def test_two_requests_list_one_open_in_turn(delayed):
    share, delay = delayed
    for i in range(30):
        share.make(f"name{i:02}")
    directory = share.directory()

    async def body():
        requests = Requests(delay)
        for name in "ab":
            requests.start(name, share.names, directory, room=300)
        outcomes = await requests.finish()
        listed = [name for names in outcomes.values() for name in names]
        assert len(listed) == len(set(listed)) > 10

    scenario(body)


def test_a_cancelled_creation_leaves_nothing(delayed):
    share, delay = delayed

    async def body():
        requests = Requests(delay)
        requests.start("create", share.open, "file", c.FILE_CREATE)
        while "file" not in names_in(share):
            assert delay.parked
            delay.release(1)
            await asyncio.sleep(0)
        requests.tasks["create"].cancel()
        await asyncio.sleep(0)
        outcomes = await requests.finish()
        assert outcomes["create"] == "cancelled"

    scenario(body)
    assert share.status("file") is S.OBJECT_NAME_NOT_FOUND


def names_in(share):
    backend = share.chain.modules[-1]
    root = backend.open_root(share.context.token)
    return [entry.name for entry in backend.readdir(share.context.token, root)]
