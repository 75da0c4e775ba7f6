"""The same tests, with what pays compiled: the optional build works, and behaves as the source does."""

import subprocess
import sys

import pytest

from tests.support.processes import REPOSITORY, compiled_library


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_selection_of_the_tests_passes_against_the_compiled_build():
    if compiled_library():
        return  # it is what runs here already
    command = [sys.executable, "-m", "tests.compiled", "--selection", "-n", "2", "--dist", "worksteal"]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, text=True, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
