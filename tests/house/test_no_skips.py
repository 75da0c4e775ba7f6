"""The rule that nothing is skipped in CI, tried on a test suite of its own."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support.processes import REPOSITORY

SUITE = """
import pytest

def test_runs(): pass

@pytest.mark.skip(reason="apt install something")
def test_left_out(): pass

def test_leaves_itself_out(): pytest.skip("not here")

@pytest.mark.xfail
def test_known_failure(): assert False
"""


def run(folder, ci, *arguments):
    """The last line of a pytest run on `SUITE`, with CI set or not."""
    shutil.copy(REPOSITORY / "tests/conftest.py", folder)
    (folder / "test_suite.py").write_text(SUITE)
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
    environment["PYTHONPATH"] = str(REPOSITORY)  # what conftest imports
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:lamina", "-p", "no:cacheprovider", *arguments]
    result = subprocess.run(
        command, cwd=folder, env=environment | ({"CI": ci} if ci else {}), capture_output=True, text=True, check=False
    )
    return result.stdout.splitlines()


@pytest.mark.parametrize("ci", ["", "0", "false"])
def test_a_person_may_skip(tmp_path, ci):
    assert run(tmp_path, ci)[-1].startswith("1 passed, 2 skipped, 1 xfailed")


@pytest.mark.parametrize(("ci", "arguments"), [("true", ()), ("", ("--no-skips",))])
def test_a_skip_is_a_failure_where_everything_must_be_there(tmp_path, ci, arguments):
    lines = run(tmp_path, ci, *arguments)
    assert lines[-1].startswith("1 failed, 1 passed, 1 xfailed, 1 error")
    assert any("apt install something" in line for line in lines)


def test_a_file_that_skips_itself_is_a_failure_too(tmp_path):
    (tmp_path / "test_absent.py").write_text("import pytest\npytest.importorskip('not_there_at_all')\n")
    assert "1 error" in run(tmp_path, "true")[-1]
