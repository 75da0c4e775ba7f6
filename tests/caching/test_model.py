"""The rules of caching grants, sharing and locks against an independent model, in random histories of one file."""

import pytest

from lamina.ntfsa.grants import breaking, caching, granting
from lamina.ntfsa.locks import byte_range
from lamina.ntfsa.record import Outcome
from tests.caching import histories
from tests.caching.histories import DifferenceError, run

STEPS = 10_000


@pytest.mark.parametrize("seed", range(4))
def test_the_rules_do_what_the_specification_says(seed: int) -> None:
    """40,000 steps; `python -m tests.caching` does as many more as one likes."""
    history = run(seed, STEPS)
    assert history.numbers > STEPS / 4


# The model must see what goes wrong: rules that are wrong in one place are found out.
def _forgets_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaking, "BREAK_SECONDS", 36.0)


def _keeps_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaking, "remaining", lambda is_lease, state, lost: state & ~lost & ~4 or state & 1)


def _grants_handles_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granting, "LEASE_STATES", caching.LEASE_STATES | {2})


def _overlooks_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granting, "takes_part", caching.touches_leases)


def _never_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "end_overdue", lambda record, now: Outcome(record, None))


def _shares_exclusive_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_range, "_lock_conflict", lambda table, owner, wanted: False)


@pytest.mark.parametrize(
    "spoil",
    [
        _forgets_the_deadline,
        _keeps_handles,
        _grants_handles_alone,
        _overlooks_descriptors,
        _never_runs_out_of_time,
        _shares_exclusive_locks,
    ],
)
def test_the_model_finds_out_what_is_wrong(spoil, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    spoil(monkeypatch)
    with pytest.raises(DifferenceError, match="seed"):
        for seed in range(5):
            run(seed, 1000)
