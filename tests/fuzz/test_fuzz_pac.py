import pytest

from lamina.core.auth.pac import read_pac
from tests.fuzz import fuzz_pac
from tests.fuzz.fuzz_wire import FindingError


def test_mutated_pacs_give_a_value_or_a_pac_error():
    assert fuzz_pac.run(seed=7, iterations=8000) == 8000


def test_what_is_mutated_is_valid():
    assert all(read_pac(data) for data in fuzz_pac.inputs())


def test_another_error_is_found(monkeypatch):
    monkeypatch.setattr(fuzz_pac, "read_pac", lambda data: data[len(data)])
    with pytest.raises(FindingError, match="IndexError for 78"):
        fuzz_pac.check(b"x")
