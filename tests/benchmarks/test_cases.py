"""The rules by which two servers are compared."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cases import Case, Line, Ratio, Sample, cases, cpu_ratio, held_back, rate_ratio, ratio_of
from benchmarks.memory import memory_ratio, proportional_set
from benchmarks.table import as_json, heading, row

CASE = Case("read4k", "plain", 8, 4)
LINE = Line(
    CASE,
    {
        "lamina": [Sample(100, 10, 0.5), Sample(300, 20, 0.95), Sample(200, 30, 0.92)],
        "smbd": [Sample(50, 40, 0.1), Sample(100, 20, 0.1), Sample(200, 90, 0.1)],
    },
)
POSITIVE = st.floats(0.001, 1e6)


def test_less_processor_time_and_more_operations_both_make_more_than_one() -> None:
    assert cpu_ratio(LINE, "lamina", "smbd") == Ratio(3.0, 1.0, 4.0)
    assert rate_ratio(LINE, "lamina", "smbd") == Ratio(2.0, 1.0, 3.0)


def test_runs_are_compared_with_those_of_their_round_and_not_by_medians() -> None:
    slow_moment = {"lamina": [Sample(1, 10), Sample(1, 100)], "smbd": [Sample(1, 20), Sample(1, 200)]}
    assert cpu_ratio(Line(CASE, slow_moment), "lamina", "smbd") == Ratio(2.0, 2.0, 2.0)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=9))
def test_the_median_pair_is_between_the_worst_and_the_best(pairs: list[tuple[float, float]]) -> None:
    ratio = ratio_of(pairs)
    assert ratio.worst <= ratio.middle <= ratio.best
    assert {ratio.worst, ratio.best} <= {first / second for first, second in pairs}


def test_what_costs_nothing_is_infinitely_better() -> None:
    assert ratio_of([(1.0, 0.0)]).middle == float("inf")


def test_a_generator_that_is_always_busy_is_what_holds_the_rate_back() -> None:
    assert held_back(LINE, "lamina")
    assert not held_back(LINE, "smbd")
    text = row(LINE)
    assert "200*" in text
    assert "3.00 (1.00-4.00)" in text
    assert heading(["lamina", "smbd"]).index("CPU ×") < text.index("3.00 (1.00-4.00)") + len("3.00 (1.00-4.00)")


def test_json_has_the_case_the_medians_and_every_run() -> None:
    (found,) = json.loads(as_json([LINE]))
    assert found["connections"] == 4
    assert found["servers"]["smbd"]["cpu"] == 40
    assert [run["rate"] for run in found["runs"]["lamina"]] == [100, 300, 200]


def test_all_combinations_are_measured_but_connecting_has_neither_modes_nor_depths() -> None:
    found = cases(["echo", "connect"], ["plain", "signed"], [1, 8], [1, 4])
    assert len(found) == len(set(found)) == 2 * 2 * 2 + 2
    assert [case for case in found if case.workload == "connect"] == [
        Case("connect", "-", 1, 1),
        Case("connect", "-", 1, 4),
    ]


@pytest.mark.parametrize(("middle", "shown"), [(1.234, "1.23 (1.00-2.00)"), (123.4, "123 (1-2)")])
def test_large_ratios_have_no_decimals(middle: float, shown: str) -> None:
    assert str(Ratio(middle, 1.0, 2.0)) == shown


def test_memory_is_the_proportional_set() -> None:
    assert (
        proportional_set("55e0-7ffd ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss:  12 kB\nPss_Dirty: 3 kB\n")
        == 12288
    )
    assert proportional_set("") == 0
    assert memory_ratio({"lamina": [10.0, 20.0], "smbd": [200.0, 200.0]}, "lamina", "smbd").middle == 15.0
