"""What `lamina module new` writes, and the examples: as a stranger meets them, in a clean environment, by real pip."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.app.conftest import LaminaProcess
from tests.support.clean_environment import CleanEnvironment
from tests.support.processes import REPOSITORY, User
from tests.support.smbclient import SMBCLIENT, SmbClient, installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = {"no_exe": [], "depot": ["--backend"]}
EXAMPLES = ("lamina-deny-names", "lamina-rot13", "lamina-sqlite-store")
BACKENDS = ("ceph", "glusterfs")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """An environment in which Lamina, and then one new distribution of each kind, was installed by pip.

    All the workers of a run have one: who comes first makes it, and the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "stranger"
    folder.mkdir(exist_ok=True)
    environment = CleanEnvironment(folder / "environment")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make(environment, folder)
            (folder / "made").touch()
    return environment


def make(environment: CleanEnvironment, folder: Path) -> None:
    environment.make("pytest", "hypothesis", "smbprotocol", "cffi")
    for place in (*(f"examples/{example}" for example in EXAMPLES), *BACKENDS):
        own = folder / Path(place).name
        shutil.copytree(REPOSITORY / "contrib" / place, own)
        environment.install(str(own))
    for name, options in NAMES.items():
        done = environment.run("lamina", "module", "new", name, *options, cwd=folder)
        assert done.returncode == 0, done.stderr
        environment.install(str(folder / f"lamina-{name.replace('_', '-')}"))


@pytest.mark.parametrize("name", NAMES)
def test_its_tests_pass_as_they_were_written(stranger: CleanEnvironment, name: str) -> None:
    folder = stranger.folder.parent / f"lamina-{name.replace('_', '-')}"
    done = stranger.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_passes_its_tests_as_a_stranger_installs_it(stranger: CleanEnvironment, example: str) -> None:
    folder = stranger.folder.parent / example
    done = stranger.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_over_a_library_is_installed_and_described(stranger: CleanEnvironment, name: str) -> None:
    """What it does is tried with a real store, in tests/contrib."""
    assert f"from lamina-{name} 0.1.0" in stranger.run("lamina", "module", "info", name).stdout
    told = stranger.run("lamina", "module", "options", name).stdout
    assert told.startswith(f"In [share.NAME.{name}] of the configuration file:")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_listed_described_and_conforms(stranger: CleanEnvironment, name: str) -> None:
    kind, option = ("backend", "size") if NAMES[name] else ("module", "patterns")
    rows = [line.split() for line in stranger.run("lamina", "module", "list").stdout.splitlines()]
    (row,) = (row for row in rows if row[:1] == [name])
    assert row[:4] == [name, kind, f"lamina-{name.replace('_', '-')}", "0.1.0"]
    about = stranger.run("lamina", "module", "info", name).stdout
    assert f"from lamina-{name.replace('_', '-')} 0.1.0" in about
    assert "rename" in about
    told = stranger.run("lamina", "module", "options", name).stdout
    assert told.startswith(f"In [share.NAME.{name}] of the configuration file:\n\n{option}: ")
    done = stranger.run("lamina", "module", "test", name, "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["conforms"]


@pytest.fixture
def serve(
    stranger: CleanEnvironment, environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., SmbClient]]:
    """Serves a folder with a chain by the stranger's own `lamina`, and gives a client of it."""
    if not installed():
        pytest.skip(f"{SMBCLIENT} is not installed (apt-get install smbclient)")
    processes: list[LaminaProcess] = []

    def start(chain: str) -> SmbClient:
        (tmp_path / "share").mkdir(exist_ok=True)
        arguments = ("serve", tmp_path / "share", "--address", "127.0.0.1", "--port", "0", "--json", "--chain", chain)
        command = tuple(map(str, (*arguments, "--user", "ada:engine")))
        process = LaminaProcess(command, environment, python=stranger.program("python"))
        processes.append(process)
        port = process.event("listening")["listeners"][0]["port"]
        return SmbClient(_Listening(port))  # type: ignore[arg-type]

    yield start
    for process in processes:
        process.end()


class _Listening:
    """What a client asks of a server."""

    host = "127.0.0.1"
    user = User("ada", "engine")

    def __init__(self, port: int) -> None:
        self.port = port


def test_a_share_with_the_module_does_what_it_says(serve: Callable[..., SmbClient], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("text")
    client = serve("no_exe,streams_xattr,dos_attributes,posix")
    client.do("put letter.txt", "mkdir folder", "get letter.txt again.txt", local=tmp_path).check()
    assert (tmp_path / "again.txt").read_text() == "text"
    assert sorted(os.listdir(tmp_path / "share")) == ["folder", "letter.txt"]


def test_a_share_of_the_backend_keeps_files_beside_its_folder(serve: Callable[..., SmbClient], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("text")
    client = serve("depot")
    client.do("put letter.txt", "mkdir folder", "rename letter.txt folder/moved.txt", local=tmp_path).check()
    client.do("cd folder", "get moved.txt", local=tmp_path).check()
    assert (tmp_path / "moved.txt").read_text() == "text"
    client.do("cd folder", "del moved.txt", "cd ..", "rmdir folder").check()
    listing: Any = client.do("ls").check()
    assert "folder" not in listing
    assert list((tmp_path / "share").iterdir()) == []
