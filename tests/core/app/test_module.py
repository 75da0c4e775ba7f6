"""`lamina module list|info|options|test|new`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from lamina.core.cli.module_text import options, summary_of, type_text
from lamina.core.cli.new_module import distribution_files, write_distribution
from lamina.vfs_modules.loader import all_installed, load_module
from lamina.vfs_modules.module import ModuleError, ModuleOptions, VfsModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing.conformance import Outcome, cases, profile_of, run
from tests.support.processes import REPOSITORY

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_list_tells_of_each_module_what_it_is_and_where_it_is_from(lamina: Run):
    lines = lamina("module", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [module.name for module in all_installed()]
    posix = next(line for line in lines if line.startswith("posix "))
    assert posix.split()[1:4] == ["backend", "lamina", "0.1.0"]


def test_the_information_has_what_a_module_declares_and_does(lamina: Run):
    text = lamina("module", "info", "streams_xattr").stdout
    for line in ("provides: streams", "stands above: security", "cannot be in one chain with: streams_depot"):
        assert line in text.splitlines()
    assert "works with versions 1.0 to before 2.0 of the contract" in text.splitlines()
    assert "open_stream" in text
    assert "STREAMS" in text


@pytest.mark.parametrize("command", ["info", "options", "test"])
def test_an_unknown_module_is_answered_with_the_nearest(lamina: Run, command: str):
    done = lamina("module", command, "possix")
    assert done.returncode == 1
    assert "did you mean 'posix'?" in done.stderr


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("max_size=1", "--option: max_size: unknown key; did you mean 'maxsize'?"),
        ("versions=7", "--option: versions: must be true or false"),
        ("versions", "--option versions: an option is NAME=VALUE"),
    ],
)
def test_a_wrong_option_is_answered_in_words(lamina: Run, option: str, complaint: str):
    done = lamina("module", "test", "recycle", "--option", option)
    assert done.returncode == 1
    assert done.stderr.startswith(f"lamina: {complaint}")
    assert "pydantic" not in done.stderr


def test_tables_within_options_are_told_with_what_they_have(lamina: Run):
    lines = lamina("module", "options", "faults").stdout.splitlines()
    assert lines[0] == "In [share.NAME.faults] of the configuration file:"
    assert "        error: text = nothing" in lines
    assert any(line.startswith("        probability: number = 1.0  [at least 0, at most 1]") for line in lines)


def test_what_a_module_is_stands_in_a_sentence():
    assert summary_of(load_module("worm")).startswith("Lets files be written once: after a time of grace ")
    for module in all_installed():
        sentence = summary_of(load_module(module.name))
        assert sentence.endswith(".")
        assert "\n" not in sentence


def test_the_information_shows_a_chain_that_the_module_can_stand_in(lamina: Run):
    for name, chain in (("fruit", '"fruit", "streams_xattr", "dos_attributes", "posix"'), ("memory", '"memory"')):
        assert f"for example: chain = [{chain}]" in lamina("module", "info", name).stdout.splitlines()


def test_options_are_told_with_type_default_limits_and_sambas_name():
    class Options(ModuleOptions):
        samba_names = {"size": "keeper:max size"}  # noqa: RUF012

        size: int = Field(default=7, ge=1, description="how large")
        names: tuple[str, ...] = ()
        where: str | None = None
        must: bool

    class Keeper(VfsModule):
        pass

    Keeper.Options = Options
    assert list(options(Keeper)) == [
        "size: whole number = 7  [at least 1]  (Samba: keeper:max size)",
        "    how large",
        "names: list of text = []",
        "where: text = nothing",
        "must: true or false = required",
    ]


@pytest.mark.parametrize("module", all_installed(), ids=lambda module: module.name)
def test_every_option_of_a_stock_module_has_a_meaning_and_a_type_in_words(module):
    for name, field in load_module(module.name).Options.model_fields.items():
        assert field.description, f"{module.name}.{name}"
        assert "typing." not in type_text(field.annotation)


def test_a_module_that_conforms_is_reported_with_what_it_proved(lamina: Run):
    done = lamina("module", "test", "dos_attributes", "--on", "memory", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["chain"] == ["dos_attributes", "memory"]
    assert report["claims"]["DOS_ATTRIBUTES"] == {"claimed": True, "proved": True, "cases": 1, "passed": 1}
    assert {row["outcome"] for row in report["cases"]} <= {"passed", "not_claimed"}


@pytest.mark.parametrize("name", ["memory", "streams_depot", "fruit"])
def test_a_module_is_tried_on_what_it_can_stand_on(lamina: Run, name: str):
    done = lamina("module", "test", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{name} conforms"


@pytest.mark.parametrize("name", ["recycle", "audit", "persistent_store"])
def test_a_module_is_tried_with_the_profile_that_is_announced_for_it(lamina: Run, name: str):
    done = lamina("module", "test", name, "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["conforms"]


def test_a_profile_is_tried_wherever_it_is(lamina: Run):
    done = lamina("module", "test", "lamina.vfs_modules.testing.stock:memory", "--json")
    assert (done.returncode, json.loads(done.stdout)["profile"]) == (0, "memory")
    wrong = lamina("module", "test", "lamina.vfs_modules.testing.stock:memry")
    assert wrong.returncode == 1
    assert "there is no profile" in wrong.stderr


class Forgetful(VfsModule):
    name = "forgetful"

    def pwrite(self, token: Any, handle: Any, data: memoryview, offset: int) -> int:
        return len(data)


def test_a_module_that_is_wrong_fails_and_says_where():
    found = run(profile_of(Forgetful, {}, (MemoryBackend,)))
    failed = {one.check: one.reason for one in found if one.outcome is Outcome.FAILED}
    assert "AssertionError" in failed["what_is_written_is_read"]
    assert "a_missing_name_is_not_found" not in failed


def test_a_module_that_nothing_suits_cannot_be_tried():
    class Lonely(VfsModule):
        name = "lonely"
        requires = ("company",)

    with pytest.raises(ModuleError, match="cannot be tried: 'lonely' needs 'company'"):
        profile_of(Lonely)
    assert len(cases(Forgetful)) > 60


@pytest.mark.parametrize("name", ["", "Upper", "1st", "two words", "class", "a-b", "../x", "x" * 31])
def test_what_cannot_be_a_name_is_refused(name: str):
    with pytest.raises(ValueError, match="cannot be the name of a module"):
        distribution_files(name)


def test_a_folder_with_something_in_it_is_left_alone(lamina: Run, tmp_path: Path):
    (tmp_path / "mine").write_text("mine")
    done = lamina("module", "new", "no_exe", "--folder", tmp_path)
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert "there is a module 'posix' already" in lamina("module", "new", "posix").stderr


@pytest.fixture(params=[False, True], ids=["module", "backend"])
def written(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "written"
    write_distribution("no_exe", folder, request.param)
    return folder


@pytest.mark.timeout(300)
def test_a_new_distribution_is_clean(written: Path):
    paths = os.pathsep.join([str(written / "src"), str(REPOSITORY / "src")])
    environment = {**os.environ, "PYTHONPATH": paths, "MYPYPATH": paths, "COLUMNS": "100", "NO_COLOR": "1"}
    for program, *arguments in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["lint-imports"]):
        command = [str(Path(sys.executable).parent / program), *arguments]
        done = subprocess.run(command, cwd=written, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
