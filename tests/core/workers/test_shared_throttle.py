"""Whoever guesses passwords is slowed down by all workers together."""

from lamina.core.auth.settings import ThrottleSettings
from lamina.core.auth.throttle import Throttle


def two() -> tuple[Throttle, Throttle]:
    """Two workers' throttles, each of which tells the other."""
    settings = ThrottleSettings(address_failures=3, account_failures=3)
    one, other = Throttle(settings), Throttle(settings)
    one.tell, other.tell = other.hear, one.hear
    return one, other


def test_failures_on_all_workers_count() -> None:
    one, other = two()
    delays = [throttle.failed("10.0.0.1", "bob") for throttle in (one, other, one)]
    assert delays[0] < delays[1] < delays[2]
    assert one.refuses("10.0.0.1", "bob")
    assert other.refuses("10.0.0.1", "Bob")


def test_a_success_is_one_for_all() -> None:
    one, other = two()
    for _ in range(3):
        one.failed("10.0.0.1", "bob")
    other.succeeded("10.0.0.1", "bob")
    assert not one.refuses("10.0.0.1", "bob")


def test_who_has_never_failed_is_not_told_of() -> None:
    one, _ = two()
    told: list[object] = []
    one.tell = lambda *what: told.append(what)
    one.succeeded("10.0.0.1", "bob")
    assert told == []
