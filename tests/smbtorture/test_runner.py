"""The runner's own judgement, on recorded output."""

import pytest

from tests.smbtorture.catalogue import TortureTest, load, promote, select, surprise
from tests.smbtorture.runner import Outcome, Verdict, judge, read_reports

FAILED = """smbtorture 4.17.12-Debian
time: 2026-11-21 05:00:00.000000Z
test: smb2.read.eof
failure: smb2.read.eof [
Exception: ../../source4/torture/smb2/read.c:60: status was NT_STATUS_OK, expected NT_STATUS_END_OF_FILE: Incorrect
]
"""


def test_success_with_exit_status_zero_passes():
    assert judge("test: a.b\nsuccess: a.b\n", 0, 1.0).verdict is Verdict.PASS


def test_failure_gives_its_first_line_as_the_reason():
    outcome = judge(FAILED, 1, 1.0)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.reason.startswith("Exception: smb2/read.c:60: status was NT_STATUS_OK")


def test_one_failure_among_successes_fails():
    assert judge("success: a.a\nerror: a.b [\nbad\n]\nsuccess: a.c\n", 1, 1.0).verdict is Verdict.FAIL


def test_skip_is_not_a_pass_although_the_exit_status_is_zero():
    outcome = judge("skip: a.b [\nnot supported\n]\n", 0, 1.0)
    assert outcome[0] is Verdict.SKIP
    assert outcome.reason == "not supported"


def test_an_end_without_verdict_is_a_crash():
    assert judge("smbtorture 4.17\nPANIC\n", -6, 1.0).verdict is Verdict.CRASH


def test_an_ended_run_is_a_timeout_whatever_it_said_before():
    assert judge("success: a.b\n", None, 75.0).verdict is Verdict.TIMEOUT


def test_names_with_spaces_and_brackets_are_read_whole():
    (report,) = read_reports("success: srvsvc (admin access).NetDiskEnum\n")
    assert report.name == "srvsvc (admin access).NetDiskEnum"


def _outcome(verdict):
    return Outcome(verdict, 0.1, "why", "")


@pytest.mark.parametrize(
    ("expect", "verdict", "surprising"),
    [
        ("pass", Verdict.PASS, False),
        ("pass", Verdict.SKIP, True),
        ("pass", Verdict.TIMEOUT, True),
        ("fail", Verdict.FAIL, False),
        ("fail", Verdict.TIMEOUT, False),
        ("fail", Verdict.PASS, True),
        ("skip", Verdict.SKIP, False),
        ("skip", Verdict.FAIL, True),
    ],
)
def test_only_what_the_list_says_is_no_surprise(expect, verdict, surprising):
    assert bool(surprise(TortureTest("a.b", expect, "reason"), _outcome(verdict))) is surprising


def test_the_list_is_readable_and_names_each_test_once():
    names = [test.name for test in load()]
    assert len(names) == len(set(names))


def test_a_row_that_does_not_pass_must_say_why(tmp_path):
    (tmp_path / "list.tsv").write_text("smb2.connect\tfail\t\t\n")
    with pytest.raises(ValueError, match="reason"):
        load(tmp_path / "list.tsv")


def test_a_family_does_not_select_another_that_begins_alike():
    tests = [TortureTest("smb2.compound.a", "pass", ""), TortureTest("smb2.compound_find.b", "pass", "")]
    assert [test.name for test in select(tests, ["smb2.compound"])] == ["smb2.compound.a"]


def test_promoting_moves_known_failures_and_leaves_the_rest_alone(tmp_path):
    path = tmp_path / "list.tsv"
    path.write_text("# comment\na.a\tfail\tslow\tbecause\na.b\tfail\t\tbecause\na.c\tskip\t\tbecause\n")
    promote({"a.a", "a.c"}, path)
    assert path.read_text() == "# comment\na.a\tpass\tslow\t\na.b\tfail\t\tbecause\na.c\tskip\t\tbecause\n"
