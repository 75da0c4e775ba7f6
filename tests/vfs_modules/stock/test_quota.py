"""`quota`: what is there is counted, and nobody gets more than he may have."""

import asyncio
import contextlib
import errno
import os
import stat as st
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lamina.vfs_modules.chain import Chain, build_chain
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.module import ModuleError, ShareInfo
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.services.surroundings import Surroundings
from lamina.vfs_modules.stock.accounting.ledger import UNLIMITED, Ledger, Limits, Rules
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.quota import QuotaModule, QuotaOptions
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.conformance import Case, Profile, cases
from lamina.vfs_modules.testing.hand import CREATE, LIST, READ, READ_WRITE, Hand, fails_with
from lamina.vfs_modules.testing.subject import default_users
from lamina.vfs_modules.token import SERVER_TOKEN

ADA, BOB = make_token(1001, 2000), make_token(1002, 2000)
USER, GROUP = QuotaKind.USER, QuotaKind.GROUP


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def module_of(chain: Chain) -> QuotaModule:
    return next(module for module in chain.modules if isinstance(module, QuotaModule))


def hands(clock: Clock | None = None, **options: Any) -> tuple[Hand, Hand]:
    """One share, two users."""
    chain = local_chain("/nowhere", QuotaModule(QuotaOptions(**options), clock or Clock()), MemoryBackend())
    return Hand(chain, ADA), Hand(chain, BOB)


def used(hand: Hand, token: Any = None, kind: QuotaKind = USER) -> int:
    token = token or hand.token
    return hand.chain.get_quota(token, hand.root, kind, token.uid if kind is USER else token.gid).used


# The ledger.


def rules(**options: Any) -> Rules:
    return Rules({}, {USER: Limits(hard=100)}, **options)


def test_a_hard_limit_is_never_passed() -> None:
    ledger = Ledger(rules())
    assert ledger.refusal(1, 1, 100, 0) == 0
    assert ledger.refusal(1, 1, 101, 0) == errno.EDQUOT
    ledger.book(1, 1, 60, 0)
    assert ledger.refusal(1, 1, 41, 0) == errno.EDQUOT
    assert ledger.refusal(2, 1, 100, 0) == 0
    assert ledger.refusal(0, 1, 1 << 60, 0) == 0, "root has no default"
    assert ledger.refusal(1, 1, -5, 0) == 0
    assert ledger.room(1, 1) == 40


def test_a_soft_limit_may_be_passed_for_a_while() -> None:
    ledger = Ledger(Rules({(USER, 1): Limits(10, 100)}, {}, grace=60.0))
    ledger.book(1, 1, 20, now=1000.0)
    assert ledger.refusal(1, 1, 1, now=1059.0) == 0
    assert ledger.refusal(1, 1, 1, now=1060.0) == errno.EDQUOT
    ledger.book(1, 1, -15, now=1100.0)
    assert ledger.refusal(1, 1, 5, now=1100.0) == 0
    ledger.book(1, 1, 15, now=1100.0)
    assert ledger.refusal(1, 1, 1, now=1159.0) == 0, "the time begins anew"


def test_a_share_that_is_full_is_a_full_disk() -> None:
    ledger = Ledger(Rules({}, {}, Limits(hard=50)))
    ledger.book(1, 1, 40, 0)
    assert ledger.refusal(2, 2, 11, 0) == errno.ENOSPC


AMOUNTS = some.lists(some.tuples(some.integers(1, 3), some.integers(1, 3), some.integers(-50, 100)), max_size=30)


@given(
    AMOUNTS,
    some.lists(some.tuples(some.sampled_from(QuotaKind), some.integers(0, 5), some.integers(1, 99)), max_size=5),
)
def test_a_ledger_comes_back_as_it_was(
    booked: list[tuple[int, int, int]], chosen: list[tuple[QuotaKind, int, int]]
) -> None:
    ledger = Ledger(rules())
    for uid, gid, change in booked:
        ledger.book(uid, gid, change, 1.0)
    for kind, number, hard in chosen:
        ledger.choose((kind, number), Limits(hard // 2, hard), 1.0)
    again = Ledger(rules())
    assert again.unpack(ledger.pack(True))
    assert again.pack(False) == ledger.pack(False)
    assert not again.unpack(ledger.pack(False))
    assert again.entries(USER, 0, 99) == ledger.entries(USER, 0, 99)


@given(some.binary(max_size=99) | some.from_regex(rb'\{"form":1,.*\}', fullmatch=True))
def test_what_is_no_ledger_changes_nothing(value: bytes) -> None:
    ledger = Ledger(rules())
    ledger.book(1, 1, 5, 0)
    before = ledger.pack(True)
    with contextlib.suppress(ValueError):
        ledger.unpack(value)
        return
    assert ledger.pack(True) == before


# Counting what is done.


def total(chain: Chain, token: Any) -> dict[int, int]:
    """What everybody has, by looking at all files."""
    found: dict[int, int] = {}
    seen = set()
    with contextlib.closing(Hand(chain, token)) as hand:
        todo = [""]
        while todo:
            path = todo.pop()
            for entry in chain.readdir(token, hand.open(path, LIST), True):
                stat = entry.stat or chain.stat(token, hand.root, f"{path}/{entry.name}".lstrip("/"))
                if st.S_ISDIR(stat.mode):
                    todo.append(f"{path}/{entry.name}".lstrip("/"))
                elif stat.ino not in seen:
                    seen.add(stat.ino)
                    found[stat.uid] = found.get(stat.uid, 0) + stat.size
    return {uid: size for uid, size in found.items() if size}


STEP = some.tuples(
    some.sampled_from(["write", "truncate", "unlink", "rename", "link", "chown", "copy", "close"]),
    some.sampled_from([ADA, BOB]),
    some.sampled_from(["a", "b", "c", "d/a"]),
    some.sampled_from(["a", "b", "c", "d/a"]),
    some.integers(0, 60),
)


class Play:
    """Steps on a share; what fails has not happened."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.server = chain, Hand(chain, SERVER_TOKEN)
        self.opened: list[Any] = []

    def open(self, token: Any, name: str, create: bool = False) -> Any:
        how = OpenHow(Access.READ_WRITE, create=create)
        self.opened.append(self.chain.open(token, self.server.root, name, how))
        return self.opened[-1]

    def write(self, token: Any, name: str, other: str, number: int) -> None:
        self.chain.pwrite(token, self.open(token, name, True), memoryview(bytes(20)), number)

    def truncate(self, token: Any, name: str, other: str, number: int) -> None:
        self.chain.ftruncate(token, self.open(token, name), number)

    def unlink(self, token: Any, name: str, other: str, number: int) -> None:
        self.chain.unlink(token, self.server.root, name)

    def rename(self, token: Any, name: str, other: str, number: int) -> None:
        self.chain.rename(token, self.server.root, name, self.server.root, other, number % 2 == 0)

    def link(self, token: Any, name: str, other: str, number: int) -> None:
        self.chain.link(token, self.server.open(name), self.server.root, other)

    def chown(self, token: Any, name: str, other: str, number: int) -> None:
        self.chain.fchown(token, self.server.open(name), 1001 if other == "a" else 1002, -1)

    def copy(self, token: Any, name: str, other: str, number: int) -> None:
        self.chain.copy_range(token, self.server.open(name, READ), 0, self.open(token, other), number, 30)

    def close(self, token: Any, name: str, other: str, number: int) -> None:
        if self.opened:
            self.chain.close(token, self.opened.pop())


@settings(deadline=None)
@given(some.lists(STEP, max_size=30))
def test_the_count_is_what_is_there(steps: list[Any]) -> None:
    chain = local_chain("/nowhere", QuotaModule(QuotaOptions(default_user=100)), MemoryBackend())
    play = Play(chain)
    play.server.mkdir("d")
    for what, *arguments in steps:
        with contextlib.suppress(OSError):
            getattr(play, what)(*arguments)
    for handle in play.opened:
        chain.close(ADA, handle)
    expected = total(chain, SERVER_TOKEN)
    for token in (ADA, BOB):
        assert used(play.server, token) == expected.get(token.uid, 0)
    assert used(play.server, ADA, GROUP) == sum(expected.values())


def test_nobody_writes_more_than_he_may() -> None:
    ada, bob = hands(users={"1001": 100})
    handle = ada.make("file", bytes(80))
    with fails_with(errno.EDQUOT):
        ada.chain.pwrite(ADA, handle, memoryview(bytes(30)), 80)
    with fails_with(errno.EDQUOT):
        ada.chain.ftruncate(ADA, handle, 101)
    assert ada.chain.fstat(ADA, handle).size == 80
    ada.chain.pwrite(ADA, handle, memoryview(bytes(80)), 0)
    ada.chain.pwrite(ADA, handle, memoryview(bytes(20)), 80)
    assert used(ada) == 100
    bob.make("his", bytes(1000))
    with fails_with(errno.EDQUOT):
        bob.chain.pwrite(BOB, bob.open("file", READ_WRITE), memoryview(b"x"), 100)
    ada.chain.ftruncate(ADA, handle, 10)
    assert used(ada) == 10


def test_a_copy_needs_room_too() -> None:
    ada, _ = hands(default_user=100)
    source, target = ada.make("source", bytes(60)), ada.make("target")
    with fails_with(errno.EDQUOT):
        ada.chain.copy_range(ADA, source, 0, target, 0, 60)
    assert ada.chain.copy_range(ADA, source, 30, target, 0, 500) == 30
    assert used(ada) == 90


def test_what_is_deleted_is_free_when_its_last_writer_closes() -> None:
    ada, _ = hands(default_user=100)
    handle = ada.chain.open(ADA, ada.root, "file", CREATE)
    ada.chain.pwrite(ADA, handle, memoryview(bytes(90)), 0)
    ada.chain.unlink(ADA, ada.root, "file")
    assert used(ada) == 90
    with fails_with(errno.EDQUOT):
        ada.chain.pwrite(ADA, handle, memoryview(bytes(20)), 90)
    ada.chain.close(ADA, handle)
    assert used(ada) == 0


def test_a_write_that_fails_below_costs_nothing() -> None:
    chain = local_chain(
        "/nowhere", QuotaModule(QuotaOptions(default_user=1000)), MemoryBackend(MemoryBackend.Options(size=50))
    )
    ada = Hand(chain, ADA)
    handle = ada.make("file", bytes(40))
    with fails_with(errno.ENOSPC):
        chain.pwrite(ADA, handle, memoryview(bytes(100)), 40)
    assert used(ada) == 40


def test_groups_and_the_share_have_limits() -> None:
    ada, bob = hands(default_group=100, share=150)
    ada.make("a", bytes(60))
    with fails_with(errno.EDQUOT):
        bob.make("b", bytes(60))
    other = Hand(ada.chain, make_token(1003, 2001))
    with fails_with(errno.ENOSPC):
        other.make("c", bytes(100))
    other.make("d", bytes(90))


def test_the_server_is_counted_and_not_limited() -> None:
    ada, _ = hands(default_user=10)
    handle = ada.make("file")
    ada.chain.pwrite(SERVER_TOKEN, handle, memoryview(bytes(50)), 0)
    assert used(ada) == 50
    with fails_with(errno.EDQUOT):
        ada.chain.pwrite(ADA, handle, memoryview(b"x"), 50)


def test_grace_ends() -> None:
    clock = Clock()
    ada, _ = hands(clock, default_user={"soft": 10, "hard": 100}, grace=1)
    handle = ada.make("file", bytes(50))
    clock.now += 86_399
    ada.chain.pwrite(ADA, handle, memoryview(b"x"), 50)
    clock.now += 2
    with fails_with(errno.EDQUOT):
        ada.chain.pwrite(ADA, handle, memoryview(b"x"), 51)


def test_room_is_what_is_left() -> None:
    ada, bob = hands(users={1001: 100}, share=500)
    ada.make("file", bytes(30))
    sizes = ada.chain.statfs(ADA, ada.root)
    assert (sizes.total, sizes.free, sizes.available) == (500, 470, 70)
    assert bob.chain.statfs(BOB, bob.root).available == 470


def test_limits_are_asked_for_and_set() -> None:
    ada, _ = hands(default_user=100)
    assert ada.chain.capabilities & Capability.QUOTAS
    ada.make("file", bytes(30))
    assert ada.chain.get_quota(ADA, ada.root, USER, 1001) == Quota(USER, 1001, 30, None, 100)
    ada.chain.set_quota(ADA, ada.root, Quota(USER, 1001, 0, 20, 40))
    with fails_with(errno.EDQUOT):
        ada.make("more", bytes(30))
    ada.chain.set_quota(ADA, ada.root, Quota(USER, 1001, 0))
    assert ada.chain.get_quota(ADA, ada.root, USER, 1001) == Quota(USER, 1001, 30)
    ada.chain.pwrite(ADA, ada.open("more", READ_WRITE), memoryview(bytes(300)), 0)
    assert [quota.number for quota in ada.chain.list_quotas(ADA, ada.root, USER, 0, 9)] == [1001]


# What is kept, and counted again.


class Kept:
    """A share that is served again and again, with what modules keep."""

    def __init__(self, folder: Path, **options: Any) -> None:
        (folder / "share").mkdir()
        self.folder, self.options = folder, options
        self.surroundings = Surroundings(state_folder=str(folder / "state"))

    def chain(self) -> Chain:
        share = ShareInfo("test", str(self.folder / "share"), surroundings=self.surroundings)
        chain = build_chain([QuotaModule(QuotaOptions(**self.options)), PosixBackend()], share)
        chain.connect()
        return chain


def mine(chain: Chain) -> Quota:
    return chain.get_quota(SERVER_TOKEN, chain.open_root(SERVER_TOKEN), USER, os.geteuid())


def test_files_that_are_there_are_counted(tmp_path: Path) -> None:
    kept = Kept(tmp_path, exclude=[".snapshots"])
    for name, size in (("a/b/file", 100), ("file", 20), (".snapshots/old/file", 5000)):
        (tmp_path / "share" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "share" / name).write_bytes(bytes(size))
    os.link(tmp_path / "share/file", tmp_path / "share/second")
    (tmp_path / "share/link").symlink_to("file")
    chain = kept.chain()
    assert mine(chain).used == 120
    chain.disconnect()


def test_limits_and_use_outlive_the_server(tmp_path: Path) -> None:
    kept = Kept(tmp_path, count="needed")
    chain = kept.chain()
    with contextlib.closing(Hand(chain, SERVER_TOKEN)) as hand:
        hand.make("file", bytes(77))
        chain.set_quota(SERVER_TOKEN, hand.root, Quota(USER, os.geteuid(), 0, 500, 1000))
    chain.disconnect()
    (tmp_path / "share/local").write_bytes(bytes(10))
    chain = kept.chain()
    assert mine(chain) == Quota(USER, os.geteuid(), 77, 500, 1000), "nothing was counted: it was not needed"
    # The server is killed.
    chain = kept.chain()
    assert mine(chain).used == 87


def test_what_cannot_be_read_is_counted_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(tmp_path, count="needed")
    (tmp_path / "share/file").write_bytes(bytes(9))
    chain = kept.chain()
    chain.disconnect()
    module_of(chain).share = ShareInfo("test", str(tmp_path), surroundings=kept.surroundings)
    module_of(chain).storage.set("ledger", b"{nonsense")
    module_of(chain).share = None
    assert mine(kept.chain()).used == 9
    assert "cannot be read" in caplog.text


def test_what_is_done_while_it_is_counted_is_counted_once() -> None:
    backend, delay = MemoryBackend(), DelayModule(DelayOptions(operations={"readdir"}))
    filler = Hand(local_chain("/nowhere", backend), ADA)
    for number in range(4):
        filler.mkdir(f"d{number}")
        for name in range(3):
            filler.make(f"d{number}/f{name}", bytes(10))
    filler.make("top", bytes(7))
    backend.share = None
    module = QuotaModule()
    chain = build_chain([module, delay, backend], ShareInfo("test", "/nowhere"))

    async def serve() -> int:
        engine = Engine(asyncio.get_running_loop())
        delay.hold()
        await engine.run(chain.connect)
        hand = Hand(chain, ADA)

        async def step() -> None:
            delay.release(1)
            for _ in range(5):
                await asyncio.sleep(0)

        def change(number: int) -> None:
            handle = chain.open(ADA, hand.root, f"d{number}/f0", READ_WRITE)
            chain.pwrite(ADA, handle, memoryview(bytes(5)), 10)
            chain.close(ADA, handle)
            chain.unlink(ADA, hand.root, f"d{number}/f1")
            made = chain.open(ADA, hand.root, f"d{number}/new", CREATE)
            chain.pwrite(ADA, made, memoryview(bytes(3)), 0)
            chain.close(ADA, made)
            hand.rename(f"d{number}/f2", f"moved{number}")

        await engine.run(change, 0)
        for number in (1, 2, 3):
            await step()
            await engine.run(change, number)
        hand.rename("d1", "d9")
        delay.release()
        async with asyncio.timeout(10):
            while module.counting:
                await asyncio.sleep(0)
        result = used(hand)
        engine.close()
        return result

    expected = 4 * (15 + 3 + 10) + 7
    assert asyncio.run(serve()) == expected


def test_a_share_that_ends_while_it_is_counted_is_counted_the_next_time() -> None:
    backend, delay = MemoryBackend(), DelayModule(DelayOptions(operations={"readdir"}))
    chain = build_chain([QuotaModule(), delay, backend], ShareInfo("test", "/nowhere"))

    async def serve() -> None:
        engine = Engine(asyncio.get_running_loop())
        delay.hold()
        await engine.run(chain.connect)
        ending = asyncio.ensure_future(engine.run(chain.disconnect))
        await asyncio.sleep(0)
        delay.release()
        await ending
        engine.close()

    asyncio.run(serve())


# The suite.


def suite(kind: str, *below: Any) -> Profile:
    make = lambda folder: [*(one() for one in below[:-1]), QuotaModule(), below[-1]()]  # noqa: E731
    return Profile(kind, make, users=default_users() if below[-1] is PosixBackend else None)


PROFILES = (suite("memory", MemoryBackend), suite("posix", StreamsXattrModule, DosAttributesModule, PosixBackend))


@pytest.mark.parametrize(
    "case", [case for profile in PROFILES for case in cases(profile)], ids=lambda case: f"{case.profile.name}-{case}"
)
def test_conforms(case: Case, tmp_path: Path) -> None:
    case(tmp_path)


# Configuration.


def test_names_are_those_of_the_machine() -> None:
    ada, _ = hands(users={"root": 5}, groups={"0": {"soft": 1, "hard": 2}})
    assert ada.chain.get_quota(ADA, ada.root, USER, 0).hard == 5
    assert ada.chain.get_quota(ADA, ada.root, GROUP, 0)[3:] == (1, 2)
    with pytest.raises(ModuleError, match="no user 'nobody-at-all'"):
        hands(users={"nobody-at-all": 5})


@pytest.mark.parametrize("options", [{"default_user": -1}, {"default_user": {"soft": 9, "hard": 5}}, {"count": "no"}])
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        QuotaOptions(**options)


def test_reading_goes_past_it() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", QuotaModule(), backend)
    for name in ("pread", "fstat", "stat", "readdir"):
        assert getattr(chain, name) == getattr(backend, name)
    assert Ledger(Rules({}, {})).limits((USER, 1)) == UNLIMITED
