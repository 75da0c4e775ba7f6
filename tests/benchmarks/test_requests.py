"""The requests that are timed in the process are answered, each in every way that it can be protected."""

import pytest

from benchmarks import requests


def test_each_request_is_answered_in_every_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_ROUNDS", 2)
    monkeypatch.setattr(requests, "_BATCHES", 3)
    found = requests.measure()
    cases = {f"{name} {mode} {depth}" for name in requests.COMMANDS for mode in requests.MODES for depth in (1, 8)}
    assert found.keys() == cases
    assert min(found.values()) > 0
