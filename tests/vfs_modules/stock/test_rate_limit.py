"""`rate_limit`: who is too fast waits, and nobody else."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.module import implements
from lamina.vfs_modules.operations import OPERATIONS, Access, OpenHow
from lamina.vfs_modules.pace import Pace
from lamina.vfs_modules.services.shared import MemoryStore, SharedValues
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.rate_limit import RateLimitModule, RateLimitOptions, SharedPace
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand
from lamina.vfs_modules.token import SERVER_TOKEN

ADA = make_token(user_name="ada", user_sid="S-1-5-21-1")
BOB = make_token(user_name="bob", user_sid="S-1-5-21-2")


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), min_size=1, max_size=50))
def test_no_more_is_used_than_the_pace_allows(steps: list[tuple[float, int]]) -> None:
    pace, now, uses = Pace(10, 20), 0.0, []
    for pause, amount in steps:
        now += pause
        uses.append((now + pace.take(amount, now), amount))
    # What one has to wait for counts from when it is used on; the largest single one may always go through.
    for first, (begin, _) in enumerate(uses):
        used = 0
        for moment, amount in uses[first:]:
            used += amount
            assert used <= 20 + 10 * (moment - begin) + 50 + 1e-6


def test_a_rest_is_saved_up_and_no_more_than_the_burst() -> None:
    pace = Pace(10, 20)
    assert pace.take(20, 0.0) == 0
    assert pace.take(10, 0.0) == pytest.approx(1.0)
    assert pace.take(20, 1000.0) == 0
    assert pace.take(1, 1000.0) == pytest.approx(0.1)


def test_what_is_given_back_may_be_taken_again() -> None:
    pace = Pace(10, 10)
    pace.take(10, 0.0)
    pace.give_back(10)
    assert pace.take(10, 0.0) == 0
    assert not pace.is_idle(0.5)
    assert pace.is_idle(1.0)


class Time:
    """A clock that only waiting moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[bool] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float, indefinite: bool) -> None:
        self.now += seconds
        self.told.append(indefinite)


@pytest.fixture
def clock() -> Time:
    return Time()


def hand_of(clock: Time, **options) -> Hand:
    module = RateLimitModule(RateLimitOptions(**options), clock, clock.pause)
    hand = Hand(local_chain("/nowhere", module, MemoryBackend()), SERVER_TOKEN)
    hand.make("file", bytes(1000))
    return hand


def read(hand: Hand, token, count: int) -> None:
    handle = hand.open("file", OpenHow(Access.READ))
    assert hand.chain.pread(token, handle, memoryview(bytearray(count)), 0) <= count


def test_bytes_of_a_user_are_limited(clock: Time) -> None:
    hand = hand_of(clock, user_bandwidth=100)
    for _ in range(5):
        read(hand, ADA, 100)
    assert clock.now == pytest.approx(4.0)
    assert clock.told == [True] * 4
    read(hand, BOB, 100)
    assert clock.now == pytest.approx(4.0), "another user has bytes of his own"


def test_all_users_share_what_the_share_has(clock: Time) -> None:
    hand = hand_of(clock, share_bandwidth=100)
    for token in (ADA, BOB, ADA):
        read(hand, token, 100)
    assert clock.now == pytest.approx(2.0)


def test_operations_are_limited(clock: Time) -> None:
    hand = hand_of(clock, user_operations=10, burst=1)
    for _ in range(30):
        hand.chain.fstat(ADA, hand.root)
    assert clock.now == pytest.approx(2.0)
    assert not any(clock.told), "short waits are not told of"


def test_only_what_was_read_counts(clock: Time) -> None:
    hand = hand_of(clock, user_bandwidth=1000)
    for _ in range(3):
        read(hand, ADA, 5000)
    assert clock.now == pytest.approx(2.0)


def test_what_fails_costs_no_bytes(clock: Time) -> None:
    hand = hand_of(clock, user_bandwidth=100)
    for _ in range(5):
        with pytest.raises(OSError):
            hand.chain.pread(ADA, hand.root, memoryview(bytearray(100)), 0)
    assert clock.now == 0


def test_the_server_and_giving_back_are_not_limited(clock: Time) -> None:
    hand = hand_of(clock, user_operations=1)
    for _ in range(9):
        hand.chain.fstat(SERVER_TOKEN, hand.root)
        hand.chain.close(ADA, hand.chain.open_root(ADA))
    assert clock.now == 0


def test_users_who_are_gone_are_forgotten(clock: Time) -> None:
    hand = hand_of(clock, user_operations=10)
    module = hand.chain.modules[0]
    assert isinstance(module, RateLimitModule)
    for number in range(2500):
        clock.now += 1
        hand.chain.fstat(make_token(user_sid=f"S-1-5-21-{number}"), hand.root)
    assert len(module._users) <= 1000


def test_without_limits_nothing_is_in_between() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", RateLimitModule(), backend)
    done = [name for name in OPERATIONS if implements(MemoryBackend, name)]
    assert all(getattr(chain, name) == getattr(backend, name) for name in done)
    chain = local_chain("/nowhere", RateLimitModule(RateLimitOptions(user_bandwidth=9)), backend := MemoryBackend())
    assert chain.fstat == backend.fstat
    assert chain.pread != backend.pread


def test_who_waits_stops_nobody_else() -> None:
    module = RateLimitModule(RateLimitOptions(user_operations=1, burst=1))
    chain = local_chain("/nowhere", module, MemoryBackend())
    root = chain.open_root(SERVER_TOKEN)

    async def serve() -> bool:
        engine = Engine(asyncio.get_running_loop())
        slow = [asyncio.ensure_future(engine.run(chain.fstat, ADA, root)) for _ in range(100)]
        await engine.run(chain.fstat, BOB, root)
        waiting = any(not one.done() for one in slow)
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        engine.close()
        return waiting

    assert asyncio.run(serve())


Steps = list[tuple[bool, bool, float, float]]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 50), st.floats(0, 5))))
def test_two_processes_have_one_pace_together(steps: Steps) -> None:
    values = SharedValues(MemoryStore(), "rate_limit")
    alone, crew, now = Pace(10, 20), [SharedPace(values, b"key", 10, 20) for _ in range(2)], 0.0
    for takes, which, amount, later in steps:
        now += later
        if takes:
            assert crew[which].take(amount, now) == alone.take(amount, now)
        else:
            alone.give_back(amount)
            crew[which].give_back(amount)
