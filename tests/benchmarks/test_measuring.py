"""The benchmarks do what they say: real servers, the real load generator, for a fraction of a second."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import goals, profile
from benchmarks.cases import Case, Line, Sample
from benchmarks.measure import MeasureError
from benchmarks.profile import Tools
from benchmarks.servers import smbd_is_installed

pytestmark = [
    pytest.mark.skipif(not shutil.which("cc"), reason="apt install gcc"),
    pytest.mark.skipif(not Path("/usr/include/openssl/evp.h").exists(), reason="apt install libssl-dev"),
    pytest.mark.skipif(os.geteuid() != 0, reason="smbd takes root"),
    pytest.mark.skipif(not smbd_is_installed(), reason="apt install samba"),
]


@pytest.fixture(autouse=True)
def _where_it_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator is built for the test, and the process may go on on all cores."""
    for module in (command, goals, profile):
        monkeypatch.setattr(module, "BUILD", tmp_path)
        monkeypatch.setattr(module, "pin_generator", lambda: None)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_several_connections_to_several_workers_beside_smbd(tmp_path: Path) -> None:
    load = ["--workloads", "read4k", "--modes", "encrypted", "--depth", "2", "--connections", "3"]
    assert (
        command.main([*load, "--seconds", "0.05", "--runs", "1", "--workers", "2", "--json", f"{tmp_path}/found"]) == 0
    )
    (found,) = json.loads((tmp_path / "found").read_text())
    assert found["connections"] == 3
    assert {name for name, sample in found["servers"].items() if sample["rate"] > 0} == {"lamina", "smbd"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_goals_are_measured_and_judged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    few = ["--only", "echo,connect,memory", "--modes", "signed", "--connections", "1", "--idle", "3"]
    assert goals.main([*few, "--seconds", "0.05", "--runs", "1", "--markdown", f"{tmp_path}/table"]) == 0
    told = capsys.readouterr().out
    assert told.count("\necho") == 2
    assert told.count("\nconnect") == told.count("\nmemory") == 2
    assert "| echo | signed |" in (tmp_path / "table").read_text()


def test_a_profile_takes_no_tool_and_names_those_that_would_tell_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tools, "found", classmethod(lambda cls: cls("", "")))
    assert profile.main(["createdelete", "--seconds", "0.1"]) == 0
    told = capsys.readouterr()
    assert "lamina: createdelete, plain, 1 × 8: " in told.out
    assert "Debian: linux-perf" in told.err


def test_a_measurement_that_fails_is_told_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(servers: object, case: Case, *_: object) -> Line:
        if case.workload == "echo":
            raise MeasureError("a reply's signature is wrong")
        return Line(case, {"lamina": [Sample(2.0, 1.0)], "smbd": [Sample(1.0, 2.0)]})

    monkeypatch.setattr(goals, "running", lambda *_: contextlib.nullcontext([]))
    monkeypatch.setattr(goals, "measure_case", measured)
    few = ["--only", "echo,read4k", "--modes", "plain", "--connections", "1", "--json", f"{tmp_path}/found"]
    assert goals.main(few) == 1
    told = capsys.readouterr()
    assert "echo, plain, 1 × 8: a reply's signature is wrong" in told.err
    assert "reached" in told.out
    assert [line["workload"] for line in json.loads((tmp_path / "found").read_text())] == ["read4k"]
