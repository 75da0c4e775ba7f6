"""The conformance suite finds what is wrong on purpose, each fault by the case that is there for it."""

import dataclasses
import os
from pathlib import Path

import pytest

from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.testing.conformance import Case, Outcome, Profile, cases, conformance_test, run
from lamina.vfs_modules.testing.minimal import ABSENT, MinimalBackend
from tests.vfs_modules.mutants import ABOVE, FOUND_BY, Kinds

MINIMAL = Profile("minimal", lambda folder: [MinimalBackend()])


def case_of(profile: Profile, name: str) -> Case:
    return next(case for case in cases(profile) if str(case) == name)


def test_there_are_enough_of_them():
    assert len(FOUND_BY) >= 25
    assert len(set(FOUND_BY.values())) >= 20


@pytest.mark.parametrize(("kind", "name"), FOUND_BY.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_a_fault_is_found_by_its_case(kind: type[VfsModule], name: str, tmp_path: Path):
    profile = Profile(kind.__name__, lambda folder: [one() for one in (kind, *ABOVE[kind])], time_limit=3.0)
    result = case_of(profile, name).result(tmp_path)
    assert (result.outcome, bool(result.reason)) == (Outcome.FAILED, True)


@pytest.mark.parametrize(
    ("name", "above"),
    sorted({(FOUND_BY[kind], above) for kind, above in ABOVE.items()}, key=str),
    ids=lambda item: item if isinstance(item, str) else item[0].name,
)
def test_the_same_case_passes_where_there_is_no_fault(name: str, above: Kinds, tmp_path: Path):
    result = case_of(Profile("without", lambda folder: [one() for one in above]), name).result(tmp_path)
    assert result.outcome in {Outcome.PASSED, Outcome.NOT_CLAIMED}, result.reason


test_what_claims_nothing_conforms = conformance_test(MINIMAL)


def test_what_claims_nothing_has_nothing_to_claim():
    outcomes = {result.check: result.outcome for result in run(MINIMAL)}
    claims = {outcome for check, outcome in outcomes.items() if check.startswith("claims_")}
    assert claims <= {Outcome.NOT_CLAIMED, Outcome.LEFT_OUT}
    assert {"link", "open_stream", "setxattr"} <= ABSENT


def judged(profile: Profile, name: str, folder: Path) -> tuple[Outcome, str]:
    result = case_of(profile, name).result(folder)
    return result.outcome, result.reason


def test_a_known_failure_must_fail(tmp_path: Path):
    known = dataclasses.replace(MINIMAL, known_failures={"what_is_written_is_read": "it is new"})
    outcome, reason = judged(known, "what_is_written_is_read", tmp_path)
    assert outcome is Outcome.FAILED
    assert reason == "passed, but is listed as a known failure: it is new"


def test_a_known_failure_that_fails_is_known(tmp_path: Path):
    kind = next(kind for kind in FOUND_BY if kind.__name__ == "ForgetsWrites")
    known = {"what_is_written_is_read": "ticket 17"}
    profile = Profile("forgets", lambda folder: [kind(), MemoryBackend()], known_failures=known)
    outcome, reason = judged(profile, "what_is_written_is_read", tmp_path)
    assert outcome is Outcome.KNOWN
    assert reason.startswith("ticket 17 (")


def test_a_known_failure_that_is_no_case_is_a_failure(tmp_path: Path):
    known = dataclasses.replace(MINIMAL, known_failures={"what_is_written_is_red": "misspelt"})
    outcome, reason = judged(known, "the_profile_names_cases_that_there_are", tmp_path)
    assert (outcome, reason) == (Outcome.FAILED, "AssertionError: no case is called what_is_written_is_red")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user; run the tests as root")
def test_who_tells_users_apart_says_so(tmp_path: Path):
    silent = Profile("posix", lambda folder: [PosixBackend()])
    outcome, reason = judged(silent, "claims_users", tmp_path)
    assert (outcome, reason) == (
        Outcome.FAILED,
        "AssertionError: users are told apart: give the profile `users`",
    )


def test_the_profile_states_what_the_chain_claims(tmp_path: Path):
    from lamina.vfs_modules.operations import Capability

    stated = dataclasses.replace(MINIMAL, capabilities=Capability.SYMLINKS)
    outcome, reason = judged(stated, "claims_symlinks", tmp_path)
    assert (outcome, reason) == (
        Outcome.FAILED,
        "AssertionError: the profile states SYMLINKS, the chain does not claim it",
    )
