"""What pip would install: the three layers under one name, and nothing else."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


@pytest.mark.parametrize("layer", ["core", "ntfsa", "vfs_modules"])
def test_the_layers_at_the_root_are_the_ones_that_are_imported(layer):
    assert (REPOSITORY / "src/lamina" / layer).is_symlink()
    assert (REPOSITORY / "src/lamina" / layer).resolve() == REPOSITORY / layer


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for layer in ("core", "ntfsa", "vfs_modules") for path in (REPOSITORY / layer).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_nothing_is_imported_by_the_name_of_its_folder():
    wrong = re.compile(r"^\s*(from|import) (core|ntfsa|vfs_modules)\b", re.MULTILINE)
    files = [path for top in ("core", "ntfsa", "vfs_modules", "tests", "benchmarks") for path in _python(top)]
    assert [str(path) for path in files if wrong.search(path.read_text())] == []


def _python(top: str) -> list[Path]:
    return sorted((REPOSITORY / top).rglob("*.py"))


@pytest.mark.timeout(300)
def test_the_wheel_holds_all_modules_and_only_lamina(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "-q", "--no-deps", "-w", tmp_path, "."],
        cwd=_copy_of_the_source(tmp_path / "source"),
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"lamina"}
    expected = {
        f"lamina/{path.relative_to(REPOSITORY)}"
        for layer in ("core", "ntfsa", "vfs_modules")
        for path in (REPOSITORY / layer).rglob("*.py")
    }
    assert expected - names == set()
    assert "lamina/py.typed" in names


def _copy_of_the_source(target: Path) -> Path:
    """The build writes beside the source; so it gets a copy of what git would give a stranger."""
    target.mkdir()
    for name in ("core", "ntfsa", "vfs_modules", "src", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        subprocess.run(["cp", "-a", str(REPOSITORY / name), str(target)], check=True)
    return target


@pytest.mark.parametrize("group", PROJECT["project"]["entry-points"])
def test_every_entry_point_can_be_loaded(group):
    ours = PROJECT["project"]["entry-points"][group]
    installed = {entry.name: entry for entry in entry_points(group=group) if entry.name in ours}
    assert set(installed) == set(ours), "install again: pip install -e ."
    for entry in installed.values():
        entry.load()


def test_every_command_can_be_loaded():
    for entry in entry_points(group="console_scripts"):
        if entry.name in PROJECT["project"]["scripts"]:
            entry.load()
