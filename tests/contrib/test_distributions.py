"""Each distribution's own tests, the conformance suite among them, against the real store, as its vendor runs them."""

import os
import subprocess
import sys

import pytest

from tests.contrib.stores import Store
from tests.support.contrib import CONTRIB
from tests.support.processes import REPOSITORY

SECONDS = 420


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_a_distribution_passes_its_tests_and_conforms(store: Store) -> None:
    folder = CONTRIB / store.name
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *store.python_path]), **store.environment()}
    # Whatever is skipped here has not been tried with a store that is there.
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--timeout=120", "tests"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout.splitlines()[-1], done.stdout[-3000:]
