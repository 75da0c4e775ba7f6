"""Two stock modules together conform, whichever stands above; `python -m tests.matrix` runs all cases of all pairs."""

import pytest

from lamina.vfs_modules.testing.conformance import cases
from tests.matrix import QUICK, Kind, failures, filters, pairs, profile_of_pair


def test_no_module_is_left_out():
    together = {kind for pair in pairs() for kind in pair}
    assert together == set(filters())
    assert len(filters()) >= 15


@pytest.mark.parametrize(("upper", "lower"), list(pairs()), ids=lambda kind: kind.name)
def test_a_pair_conforms(upper: Kind, lower: Kind):
    found = failures(profile_of_pair(upper, lower), (upper, lower), quick=True)
    assert {str(case) for case in cases(profile_of_pair(upper, lower))} >= QUICK
    assert [f"{one.check}: {one.reason}" for one in found] == []
