"""The table of goals, and its verdicts."""

import pytest

from benchmarks.cases import MODES, WORKLOADS, Case, Line, Ratio, Sample
from benchmarks.goal_table import (
    FULL,
    GOALS,
    MEMORY,
    OURS,
    PLAIN,
    SYNC,
    Result,
    as_markdown,
    judge,
    plan,
    row,
    servers,
    summary,
    workloads,
)

CASE = Case("echo", "plain", 8, 1)


def result(cpu: float, rate: float | None, goal: float = 1.0, *, held: bool = False) -> Result:
    return Result(CASE, PLAIN, goal, Ratio(cpu, cpu, cpu), None if rate is None else Ratio(rate, rate, rate), held)


def test_there_is_a_goal_for_every_workload_but_the_short_listing() -> None:
    assert set(workloads()) == set(WORKLOADS) - {"list1000"} | {MEMORY}


@pytest.mark.parametrize(
    ("workload", "mode", "goals"),
    [
        ("echo", "signed", {PLAIN: 1.0, SYNC: 0.8}),
        ("stat", "plain", {PLAIN: 1.0, FULL: 1.0, SYNC: 1.2}),
        ("write1m", "encrypted", {PLAIN: 2.0, SYNC: 1.5}),
        ("write1m", "plain", {PLAIN: 1.2, SYNC: 0.8}),
        ("list10000", "plain", {PLAIN: 1.3, SYNC: 1.3}),
        ("missing", "plain", {PLAIN: 10.0, SYNC: 10.0}),
    ],
)
def test_the_goals_are_those_that_were_set(workload: str, mode: str, goals: dict[str, float]) -> None:
    assert [against for case, against in plan([workload], [mode], [1])] == [goals]


def test_every_workload_is_measured_once_in_every_mode_with_each_number_of_connections() -> None:
    planned = [case for case, _ in plan(workloads(), MODES, [1, 4])]
    assert len(planned) == len(set(planned)) == 10 * 3 * 2 + 2
    assert {case.connections for case in planned} == {1, 4}


def test_only_servers_with_a_goal_are_started() -> None:
    assert servers(["echo"]) == [OURS, PLAIN, SYNC]
    assert set(servers(workloads())) == {OURS, PLAIN, SYNC, FULL}
    assert all(goal.against.keys() >= {PLAIN, SYNC} for goal in GOALS)


@pytest.mark.parametrize(
    ("cpu", "rate", "verdict"),
    [
        (1.0, 1.0, "reached"),
        (0.99, 0.99, "not reached"),
        (1.5, 0.9, "CPU only"),
        (0.9, 1.5, "rate only"),
        (1.0, None, "reached"),
        (0.5, None, "not reached"),
    ],
)
def test_a_goal_is_reached_in_processor_time_and_rate(cpu: float, rate: float | None, verdict: str) -> None:
    assert result(cpu, rate).verdict == verdict
    assert row(result(cpu, rate)).endswith(verdict)


def test_a_case_is_judged_against_each_server_that_was_measured() -> None:
    line = Line(CASE, {OURS: [Sample(200, 10, 0.95)], PLAIN: [Sample(100, 20)]})
    (judged,) = judge(line, {PLAIN: 1.0, SYNC: 0.8})
    assert judged == Result(CASE, PLAIN, 1.0, Ratio(2.0, 2.0, 2.0), Ratio(2.0, 2.0, 2.0), held=True)
    assert "2.00 (2.00-2.00)*" in row(judged)


def test_the_summary_counts_by_server() -> None:
    text = summary([result(2, 2), result(2, 0.5), result(0.5, 0.5)])
    assert "3 goals: 1 reached, 1 CPU only, 0 rate only, 1 not reached" in text


def test_the_tables_for_the_documentation_have_a_line_for_each_case_and_say_what_is_reached() -> None:
    one, four = result(2.0, 0.5), result(0.5, 2.0, held=True)._replace(case=CASE._replace(connections=4))
    memory = result(20.0, None)._replace(case=Case(MEMORY, "-", 0, 100))
    lines = as_markdown([one, four, memory, one._replace(against=SYNC)]).splitlines()
    assert lines[0] == "Against `smbd` (connections in brackets):"
    assert lines[2] == "| workload | mode | goal | CPU × (1) | rate × (1) | CPU × (4) | rate × (4) |"
    assert lines[4].startswith(
        "| echo | plain | 1 | **2.00 (2.00-2.00)** | 0.50 (0.50-0.50) | 0.50 (0.50-0.50) | **2.00"
    )
    assert lines[4].endswith("\\* |")
    assert lines[5] == "| memory | - | 1 | **20 (20-20)** |  |  |  |"
    assert len({line.count("|") for line in lines[2:6]}) == 1
    assert "Against `smbd-sync` (connections in brackets):" in lines
