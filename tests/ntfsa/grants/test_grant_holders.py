"""Who holds caching rights, over a volume whose operations park their requests."""

import asyncio
import errno

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants import directory_leases, grant_holders
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.grants.grant_holders import LeaseRequest, acknowledge_lease_break, acknowledge_oplock_break
from lamina.ntfsa.security.file_security import set_security
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
)
from lamina.ntfsa.security.sid import EVERYONE
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.ntfsa.volume import VolumeSettings
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from tests.support.granted import RH, RWH, R

ALL = c.FILE_ALL_ACCESS


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


# -- leases -----------------------------------------------------------------------------------------------------------


class Leased:
    """An open with a lease, and what its client is told."""

    def __init__(self, share, state, key=b"k" * 16, path="file", **asked):
        wanted = LeaseRequest(key, state, asked.pop("version", 1))
        result = share.create(path, c.FILE_OPEN_IF, lease=wanted, **asked)
        self.open = result.open
        self.state = result.lease.state
        self.lease = self.open.lease
        self.can_be_told = True
        self.told = []
        self.lease.listeners[self.open.owner] = self._listen

    def _listen(self, notice):
        if self.can_be_told:
            self.told.append((notice.held, notice.to, notice.answer_awaited))
        return self.can_be_told

    def answer(self, share, state):
        return acknowledge_lease_break(share.volume.leases, self.lease.identity, state)


def test_a_lease_of_whom_nobody_can_be_told_is_not_waited_for(share):
    held = Leased(share, RWH)
    held.can_be_told = False
    assert share.status("file") is S.SUCCESS
    assert share.registry.read(held.open.file_key).grants[0].state == RH


def test_any_open_of_a_lease_may_be_told(share):
    first, second = Leased(share, RWH), Leased(share, R)
    first.can_be_told = False
    other = share.open("file", desired_access=c.READ_CONTROL)

    async def body(requests):
        requests.start("open", share.open, "file")
        assert (first.told, second.told) == ([], [(RWH, RH, True)])
        second.answer(share, RH)
        await requests.settle()
        assert requests.outcomes["open"].path == "file"

    scenario(body)
    assert other.lease is None


EVERYBODY = memoryview(
    pack_security_descriptor(
        SecurityDescriptor(
            None, None, Acl((Ace(0, 0, c.FILE_ALL_ACCESS, EVERYONE),)), None, SE_SELF_RELATIVE | SE_DACL_PRESENT
        )
    )
)
CHANGES = {
    "rename": lambda share, open_: share.rename(open_, "moved"),
    "delete": lambda share, open_: share.dispose(open_),
    "secure": lambda share, open_: set_security(share.context, open_, c.DACL_SECURITY_INFORMATION, EVERYBODY),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_about_names_and_security_waits_for_handles(share, change):
    held = Leased(share, RH)
    other = share.open("file")

    async def body(requests):
        requests.start(change, CHANGES[change], share, other)
        assert held.told == [(RH, R, True)]
        await requests.settle()
        assert not requests.outcomes
        assert held.answer(share, R) == R
        await requests.settle()
        assert change in requests.outcomes

    scenario(body)


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_waits_for_his_own_lease(share, change):
    held = Leased(share, RWH)
    again = Leased(share, RWH)
    CHANGES[change](share, again.open)
    assert (held.told, again.told) == ([], [])


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_cancelled_leaves_the_break_to_go_on(share, change):
    held = Leased(share, RH)
    other = share.open("file")

    async def body(requests):
        task = requests.start(change, CHANGES[change], share, other)
        await requests.settle()
        task.cancel()
        await requests.settle()
        assert requests.outcomes == {change: "cancelled"}
        (grant,) = share.registry.read(other.file_key).grants
        assert (grant.breaking_to, grant.waiters) == (R, ())
        assert held.answer(share, R) == R

    scenario(body)
    assert share.volume.open_count() == 2


def test_a_replaced_file_gives_up_its_handles(share):
    held = Leased(share, RH, path="target")
    moving = share.open("file", c.FILE_CREATE)

    async def body(requests):
        requests.start("rename", share.rename, moving, "target", True)
        assert held.told == [(RH, R, True)]
        share.close(held.open)
        await requests.settle()
        assert requests.outcomes["rename"] is None

    scenario(body)
    assert moving.path == "target"


def test_a_folder_is_renamed_when_nobody_keeps_files_in_it(share):
    share.close(share.directory("folder", disposition=c.FILE_CREATE))
    held = Leased(share, RH, path="folder\\file")
    folder = share.directory("folder", desired_access=ALL)

    async def body(requests):
        requests.start("rename", share.rename, folder, "elsewhere")
        assert held.told == [(RH, R, True)]
        share.close(held.open)
        await requests.settle()
        assert requests.outcomes["rename"] is None

    scenario(body)


def test_a_close_that_deletes_waits_for_nobody(share):
    held = Leased(share, RH)
    other = share.open("file", options=c.FILE_DELETE_ON_CLOSE)

    async def body(requests):
        requests.start("close", share.close, other)
        await requests.settle()
        assert held.told == [(RH, R, True)]
        assert "close" in requests.outcomes
        held.answer(share, R)

    scenario(body)


def test_time_ends_a_break(share, monkeypatch):
    monkeypatch.setattr("lamina.ntfsa.grants.breaking.BREAK_SECONDS", 0.01)
    held = Leased(share, RWH)

    async def body(requests):
        requests.start("open", share.open, "file")
        assert held.told == [(RWH, RH, True)]
        async with asyncio.timeout(5):
            while not requests.outcomes:
                await asyncio.sleep(0.005)
        with pytest.raises(NtStatusError) as refused:
            held.answer(share, RH)
        assert refused.value.status is S.UNSUCCESSFUL

    scenario(body)


def test_where_nothing_may_be_cached_nothing_is_granted(make_share):
    share = make_share(settings=VolumeSettings(oplocks=False))
    assert Leased(share, RWH).state == 0
    assert share.create("other", c.FILE_CREATE, oplock_level=BATCH).oplock_level == NONE


def test_a_key_is_for_one_file(share):
    held = Leased(share, R)
    share.make("other")
    for path in ("other", "new"):
        wanted = LeaseRequest(held.lease.key, R)
        assert share.status(path, c.FILE_OPEN_IF, lease=wanted) is S.INVALID_PARAMETER
    share.close(held.open)
    assert len(share.volume.leases) == 0
    assert Leased(share, R, path="other").state == R


def test_a_key_is_for_one_file_also_when_two_are_opened_at_once(make_share):
    delay = DelayModule(DelayOptions(operations=frozenset({"get_dos_attributes"})))
    share = make_share(delay, DosAttributesModule(), MemoryBackend())
    names = ("one", "two")
    for name in names:
        share.make(name)

    async def body(requests):
        delay.hold()
        for name in names:
            requests.start(name, share.create, name, lease=LeaseRequest(b"k" * 16, RWH))
        assert delay.parked == len(names)
        delay.release()
        await requests.settle()
        assert requests.outcomes["one"].lease.state == RWH
        assert requests.outcomes["two"] is S.INVALID_PARAMETER
        assert share.volume.open_count() == 1

    scenario(body)


@pytest.mark.parametrize("first_ends", ["cancelled", "after one that asks for nothing"])
def test_no_directory_is_leased_that_nobody_watches(share, monkeypatch, first_ends):
    share.make("folder", options=c.FILE_DIRECTORY_FILE)
    folder = {"path": "folder", "version": 2}
    others = []

    def begin(token, open_, watcher):
        # Another request comes while this one waits for its watch.
        others.append(Leased(share, RH if first_ends == "cancelled" else 0, **folder))
        if first_ends == "cancelled":
            raise RequestCancelled

    monkeypatch.setattr(grant_holders, "may_lease_directories", lambda volume: True)
    monkeypatch.setattr(directory_leases, "begin_watching", begin)
    monkeypatch.setattr(directory_leases, "end_watching", lambda volume, watcher: None)

    async def body(requests):
        if first_ends == "cancelled":
            with pytest.raises(RequestCancelled):
                Leased(share, RH, **folder)
            assert others[0].told == [(RH, 0, True)]
        else:
            assert Leased(share, RH, **folder).state == 0

    scenario(body)


@pytest.mark.parametrize("error", [RequestCancelled(), OSError(errno.EIO, "")])
def test_an_oplock_that_fails_leaves_no_open(share, monkeypatch, error):
    class Guard:
        def guard(self, open_, state):
            raise error

        def closing(self, open_):
            pass

    share.make("file")
    monkeypatch.setattr(share.volume, "outside", Guard())
    with pytest.raises((RequestCancelled, NtStatusError)):
        share.create("file", oplock_level=BATCH)
    assert share.volume.open_count() == 0


def test_a_lease_ends_with_its_last_open(share):
    first, second = Leased(share, RH), Leased(share, RH)
    share.close(first.open)
    assert share.volume.leases.find(second.lease.identity) is second.lease
    share.close(second.open)
    assert share.volume.leases.find(second.lease.identity) is None
