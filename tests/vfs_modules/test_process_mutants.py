"""The cases about several processes find what is wrong with two at once, and pass where nothing is."""

from pathlib import Path

import pytest

from lamina.vfs_modules.module import ShareInfo, VfsModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.testing.conformance import Case, Outcome, Profile, cases
from lamina.vfs_modules.testing.subject import place_of, profile_of, subject_at
from lamina.vfs_modules.testing.suite import process_checks
from tests.vfs_modules import process_mutants
from tests.vfs_modules.process_chains import for_macs, guarded
from tests.vfs_modules.process_mutants import FOUND_BY

CASES = process_checks.__all__


def case_of(profile: Profile, name: str) -> Case:
    return next(case for case in cases(profile) if str(case) == name)


def test_each_case_finds_something() -> None:
    assert set(FOUND_BY.values()) == set(CASES)


@pytest.mark.parametrize(("mutant", "name"), FOUND_BY.items())
def test_a_fault_is_found_by_its_case(mutant: str, name: str, tmp_path: Path) -> None:
    result = case_of(getattr(process_mutants, mutant), name).result(tmp_path)
    assert (result.outcome, bool(result.reason)) == (Outcome.FAILED, True)


class Unsaid(VfsModule):
    """Does not say that several processes may have it."""


class Fails(VfsModule):
    """Cannot be connected where it is one of several."""

    def one_process(self) -> str:
        return ""

    def connect(self, share: ShareInfo) -> None:
        if not self.turn("a").__class__.__name__ == "Turn":
            raise OSError("not here")


@pytest.mark.parametrize("name", CASES)
def test_who_does_not_say_so_is_not_tried(name: str, tmp_path: Path) -> None:
    assert case_of(profile_of(Unsaid), name).result(tmp_path).outcome is Outcome.NOT_CLAIMED


def test_a_process_that_cannot_begin_is_a_failure_that_says_why(tmp_path: Path) -> None:
    result = case_of(profile_of(Fails), "one_process_sees_what_another_does").result(tmp_path)
    assert result.outcome is Outcome.FAILED
    assert "not here" in result.reason


def test_a_class_is_found_by_its_place_and_one_that_cannot_be_is_not_tried() -> None:
    assert subject_at(place_of(PosixBackend)).name == "posix"
    assert profile_of(PosixBackend, {"offload": "always"}).processes == ""

    class Hidden(VfsModule):
        name = "hidden"

    assert place_of(Hidden) == ""


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("profile", [for_macs, guarded], ids=lambda profile: profile.name)
def test_stock_modules_are_right_with_two_processes(profile: Profile, name: str, tmp_path: Path) -> None:
    result = case_of(profile, name).result(tmp_path)
    assert result.outcome in {Outcome.PASSED, Outcome.NOT_CLAIMED}, result.reason
