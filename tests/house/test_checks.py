"""The tools that read all of the source: format, lint, types, layers, and the site of the documentation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY

BIN = Path(sys.executable).parent

CHECKS = {
    "ruff finds nothing": ["ruff", "check", "--no-cache"],
    "ruff would format nothing differently": ["ruff", "format", "--no-cache", "--check"],
    "mypy finds nothing, nor a test that names what does not exist": ["mypy"],
    "imports only go down": ["lint-imports", "--no-cache"],
}


def run(command: list[str], folder: Path = REPOSITORY) -> None:
    """Run one of the environment's tools; what it printed is the reason where it fails."""
    result = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{(result.stdout + result.stderr)[-8000:]}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("check", CHECKS)
def test_check(check):
    run(CHECKS[check])


def test_the_documentation_builds_without_a_warning(tmp_path):
    if not (BIN / "zensical").exists():
        pytest.skip("zensical is not installed: pip install -e '.[docs]'")
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    run(["zensical", "build", "--strict"], tmp_path)
    assert (tmp_path / "site" / "index.html").exists()
