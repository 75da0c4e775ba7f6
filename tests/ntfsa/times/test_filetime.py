import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.times.filetime import EPOCH_DIFFERENCE, MAX_FILETIME, from_filetime, to_filetime


@pytest.mark.parametrize(
    ("ns", "filetime"),
    [
        (0, EPOCH_DIFFERENCE),
        (100, EPOCH_DIFFERENCE + 1),
        (199, EPOCH_DIFFERENCE + 1),
        (-1, EPOCH_DIFFERENCE - 1),
        (-EPOCH_DIFFERENCE * 100, 0),
        (-EPOCH_DIFFERENCE * 100 - 1, 0),
        (1 << 80, MAX_FILETIME),
    ],
)
def test_known_times(ns: int, filetime: int) -> None:
    assert to_filetime(ns) == filetime


@given(st.integers(0, MAX_FILETIME))
def test_every_filetime_comes_back(filetime: int) -> None:
    assert to_filetime(from_filetime(filetime)) == filetime


def test_a_filetime_beyond_the_signed_range_counts_as_its_end() -> None:
    assert from_filetime((1 << 64) - 1) == from_filetime(MAX_FILETIME)
