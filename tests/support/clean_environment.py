"""A Python environment as a stranger has it: nothing but wheels that pip installed, without any network.

The wheels of what Lamina needs are made of what is installed here: the files that each distribution has recorded.
"""

import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from tests.support.processes import REPOSITORY

SECONDS = 300
_SOURCE = ("core", "ntfsa", "vfs_modules", "src", "pyproject.toml", "README.md", "LICENSE")
_BUILD = ("setuptools",)


class CleanEnvironment:
    """A virtual environment in `folder` with Lamina and `extra` distributions in it, and wheels for more."""

    def __init__(self, folder: Path) -> None:
        """One that was made in `folder`, or is about to be."""
        self.folder = folder
        self.wheels = folder / "wheels"

    def make(self, *extra: str) -> None:
        """Make it, with `extra` in it, too."""
        self.wheels.mkdir(parents=True)
        _build_lamina(self.folder / "source", self.wheels)
        for name in _all_needed(["lamina", *extra, *_BUILD]) - {"lamina"}:
            _pack(distribution(name), self.wheels)
        venv.EnvBuilder(with_pip=True).create(self.folder / "venv")
        self.install("lamina", *extra)

    def program(self, name: str) -> str:
        """Where a program of the environment is."""
        return str(self.folder / "venv/bin" / name)

    def install(self, *what: str) -> None:
        """What `pip install` does, from the wheels alone."""
        pip = ("-m", "pip", "install", "-q", "--no-compile", "--no-index", "--find-links", str(self.wheels))
        done = self.run("python", *pip, *what)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, program: str, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment, which knows of no other."""
        hidden = ("PYTHONPATH", "PYTEST_ADDOPTS", "VIRTUAL_ENV", "PIP_INDEX_URL", "CI")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        return subprocess.run(
            [self.program(program), *arguments],
            cwd=cwd or self.folder,
            env=environment | {"COLUMNS": "120", "NO_COLOR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def _build_lamina(source: Path, wheels: Path) -> None:
    source.mkdir()
    for name in _SOURCE:
        subprocess.run(["cp", "-a", str(REPOSITORY / name), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-index"]
    command = [*pip, "--no-deps", "--no-build-isolation", "-w", str(wheels), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _all_needed(names: list[str]) -> set[str]:
    """The distributions that these need and that are installed here: what is not is not needed on this platform."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        todo += [re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0] for one in requirements if "extra ==" not in one]
    return found


def _pack(installed: Distribution, wheels: Path) -> None:
    """Make the wheel that a distribution was installed from once more, without its programs: pip makes those."""
    tags = re.findall(r"^Tag: (?!py2)(.*)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    name = re.sub(r"[-_.]+", "_", installed.metadata["Name"])
    with zipfile.ZipFile(wheels / f"{name}-{installed.version}-{tags[0]}.whl", "w") as wheel:
        for file in installed.files or []:
            place = Path(file.locate())
            if ".." not in file.parts and file.suffix != ".pyc" and place.is_file():
                wheel.write(place, str(file))
