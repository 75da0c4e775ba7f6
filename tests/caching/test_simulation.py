"""Twenty clients of a whole server in virtual time: what is promised holds, and who breaks it is found out."""

import pytest

from lamina.ntfsa.grants import breaking, directory_leases, grant_holders
from lamina.ntfsa.opening import sharing
from lamina.ntfsa.record import Outcome
from tests.caching.simulation import BrokenPromiseError, simulate
from tests.caching.virtual_time import NothingWillHappen


@pytest.mark.parametrize("seed", range(4))
def test_what_is_promised_holds(seed: int) -> None:
    """`python -m tests.caching` tries as many more as one likes."""
    assert simulate(seed, 600).done == 600


def test_a_seed_gives_the_same_run_again() -> None:
    first, second = simulate(7, 150), simulate(7, 150)
    assert list(first.log) == list(second.log)


def _never_loses_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_holders._Patience, "begin", lambda *arguments: None)


def _forgets_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaking, "_ended", lambda grant: ())


def _forgets_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "release_owner", lambda record, owner: Outcome(record, None))


def _keeps_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_holders.LeaseTable, "leave", lambda self, open_: None)


def _tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_holders.Oplock, "broken", lambda self, message: None)


def _breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.ntfsa.grants.grant_breaks.others_cache", lambda *arguments: False)


def _lists_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_leases.LeaseWatcher, "add", lambda *arguments: None)


@pytest.mark.parametrize(
    "spoil",
    [
        _never_loses_patience,
        _forgets_who_waits,
        _forgets_locks,
        _keeps_leases,
        _tells_nobody,
        _breaks_nothing,
        _lists_what_was,
    ],
)
def test_a_server_that_breaks_promises_is_found_out(spoil, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    spoil(monkeypatch)
    with pytest.raises((BrokenPromiseError, NothingWillHappen)):
        for seed in range(6):
            simulate(seed, 400)
