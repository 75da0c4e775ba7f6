import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.auth.authenticator import Authenticator
from lamina.core.auth.settings import AuthSettings, ThrottleSettings
from lamina.core.auth.throttle import Throttle, address_key
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules import engine
from tests.core.auth.helpers import accounts_of, authenticate, ntlm_client


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


SETTINGS = ThrottleSettings(address_failures=3, account_failures=5, window=300.0, entries=4)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(SETTINGS, clock)


def test_each_failure_doubles_the_delay_up_to_the_longest(clock: Clock) -> None:
    throttle = Throttle(ThrottleSettings(), clock)
    assert [throttle.failed("a", "x") for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_an_address_is_refused_after_its_failures_with_any_account(throttle: Throttle) -> None:
    for number in range(3):
        assert not throttle.refuses("a", "other")
        throttle.failed("a", f"user{number}")
    assert throttle.refuses("a", "other")
    assert not throttle.refuses("b", "other")


def test_an_account_is_refused_after_failures_from_anywhere(throttle: Throttle) -> None:
    for number in range(5):
        throttle.failed(f"10.0.0.{number}", "Alice")
    assert throttle.refuses("elsewhere", "alice")
    assert not throttle.refuses("elsewhere", "bob")


def test_the_refusal_ends_a_window_after_the_last_counted_failure(throttle: Throttle, clock: Clock) -> None:
    for _ in range(3):
        throttle.failed("a", "x")
    clock.now += 299
    assert throttle.refuses("a", "y")
    clock.now += 1
    assert not throttle.refuses("a", "y")
    assert throttle.failed("a", "y") == 0.5


def test_success_forgets_both(throttle: Throttle) -> None:
    for _ in range(3):
        throttle.failed("a", "x")
    throttle.succeeded("a", "X")
    assert not throttle.refuses("a", "x")
    assert throttle.failed("a", "x") == 0.5


def test_the_longest_unused_entries_are_forgotten(throttle: Throttle) -> None:
    for number in range(100):
        throttle.failed(f"10.0.0.{number}", f"user{number}")
    assert len(throttle._addresses) == len(throttle._accounts) == 4


def test_it_can_be_turned_off(clock: Clock) -> None:
    throttle = Throttle(ThrottleSettings(enabled=False, address_failures=1), clock)
    assert throttle.failed("a", "x") == 0.0
    assert not throttle.refuses("a", "x")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("not an address", "not an address"),
    ],
)
def test_addresses_are_counted_by_who_owns_them(address: str, key: str) -> None:
    assert address_key(address) == key


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()), max_size=60))
def test_nobody_is_refused_who_did_not_fail_often_enough(events: list[tuple[str, str, bool]]) -> None:
    throttle = Throttle(SETTINGS, Clock())
    for address, account, success in events:
        if success:
            throttle.succeeded(address, account)
        else:
            throttle.failed(address, account)
    failures_of = {address: sum(1 for a, _, ok in events if a == address and not ok) for address in "abc"}
    for address, failures in failures_of.items():
        if throttle.refuses(address, "nobody"):
            assert failures >= 3


def attempt(authenticator: Authenticator, password: str) -> NtStatus:
    try:
        authenticate(authenticator, ntlm_client("alice", password))
    except NtStatusError as error:
        return error.status
    return NtStatus.SUCCESS


def test_the_right_password_is_not_looked_at_while_the_address_is_refused(throttle: Throttle, clock: Clock) -> None:
    authenticator = Authenticator(accounts_of("alice"), AuthSettings(), throttle)
    for _ in range(3):
        assert attempt(authenticator, "wrong") is NtStatus.LOGON_FAILURE
    assert attempt(authenticator, "Passw0rd!") is NtStatus.LOGON_FAILURE
    clock.now += 301
    assert attempt(authenticator, "Passw0rd!") is NtStatus.SUCCESS


def test_a_successful_exchange_clears_the_failures(throttle: Throttle) -> None:
    authenticator = Authenticator(accounts_of("alice"), AuthSettings(), throttle)
    for _ in range(3):
        for _ in range(2):
            assert attempt(authenticator, "wrong") is NtStatus.LOGON_FAILURE
        assert attempt(authenticator, "Passw0rd!") is NtStatus.SUCCESS


def test_inside_a_request_a_failure_is_answered_after_its_delay(
    throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []

    def no_sleep(seconds: float) -> Awaitable[None]:
        delays.append(seconds)
        return real_sleep(0)

    real_sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    authenticator = Authenticator(accounts_of("alice"), AuthSettings(), throttle)

    async def main() -> list[NtStatus]:
        requests = engine.Engine(asyncio.get_running_loop(), threads=2)
        try:
            return [await requests.run(attempt, authenticator, "wrong") for _ in range(4)]
        finally:
            requests.close()

    assert asyncio.run(main()) == [NtStatus.LOGON_FAILURE] * 4
    assert [delay for delay in delays if delay] == [0.5, 1.0, 2.0]
