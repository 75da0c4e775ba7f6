"""The conformance suite applied to a profile: its cases, how each ended, and what was proved by it.

A vendor writes a profile and one line in a test file::

    test_conforms = conformance_test(Profile("mine", lambda folder: [MyBackend()]))

or no test file at all: `lamina module test NAME`, `python -m lamina.vfs_modules.testing package.module:profile`.

It is strict in both directions. What the chain claims must work, and what works must be claimed; a known failure that
passes, or that names no case, is a failure. A module that stands above others is tried on the chain that a share has by
default, as far as its declarations allow, or on another one (`profile_of`).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.testing.profile import Feature, Profile, connected, find_profile
from lamina.vfs_modules.testing.subject import default_users, profile_of
from lamina.vfs_modules.testing.suite import entries
from lamina.vfs_modules.testing.trial import Entry, LeftOut, NotClaimed, Trial

CLAIM = "claims_"
"""Begins the name of the case that judges whether a capability is claimed where it should be."""

NAMES = "the_profile_names_cases_that_there_are"
"""The case that judges a profile's known failures."""


_NOTHING = Capability(0)
_T = TypeVar("_T")


class Outcome(Enum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_CLAIMED = "not claimed"
    KNOWN = "known failure"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Result:
    """One case: its name, what it is for, how it ended, and why where it failed or is known to."""

    check: str
    meaning: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of one profile; called with an empty folder it raises AssertionError where it finds a fault.

    The share is a folder in that one, so that what belongs to it otherwise can be kept beside it.
    """

    profile: Profile
    name: str
    meaning: str
    body: Callable[[Profile, Path], None]

    def __str__(self) -> str:
        return self.name

    def __call__(self, folder: Path) -> None:
        """Raise AssertionError, or what the module raised, unless the case ends as it should."""
        result = self.result(folder)
        if result.outcome is Outcome.FAILED:
            raise AssertionError(result.reason)

    def result(self, folder: Path) -> Result:
        """How the case ends, whatever the module raises; a known failure must fail."""
        known = self.profile.known_failures.get(self.name)
        outcome, reason = self._judged(folder)
        if known is not None and outcome is Outcome.FAILED:
            outcome, reason = Outcome.KNOWN, f"{known} ({reason})"
        elif known is not None:
            outcome, reason = Outcome.FAILED, f"{outcome.value}, but is listed as a known failure: {known}"
        return Result(self.name, self.meaning, outcome, reason)

    def _judged(self, folder: Path) -> tuple[Outcome, str]:
        try:
            self.body(self.profile, _share_in(folder))
        except NotClaimed:
            return Outcome.NOT_CLAIMED, ""
        except LeftOut as why:
            return Outcome.LEFT_OUT, str(why)
        except Exception as error:  # a module is anybody's code
            told = [f"{type(error).__name__}: {error}".rstrip(": "), *getattr(error, "__notes__", ())]
            return Outcome.FAILED, "\n".join(told)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return Outcome.FAILED, f"{type(error).__name__}: {error}, which is no error of an operation"
        return Outcome.PASSED, ""


def cases(
    subject: Any, options: Mapping[str, Any] | None = None, others: Sequence[type[Any]] | None = None
) -> tuple[Case, ...]:
    """All cases of a profile; or of a module class: with these options, and in a chain with these `others`."""
    profile = subject if isinstance(subject, Profile) else profile_of(subject, options, others)
    suite = entries()
    judged = [one for one in Capability if any(one in entry.needs for entry in suite)]
    claims = [Case(profile, _claim_name(one), _claim_meaning(one), _claim_judge(one)) for one in judged]
    claims.append(
        Case(profile, f"{CLAIM}users", "Users are told apart if the profile names two of them.", _judge_users)
    )
    own = Case(profile, NAMES, "A known failure that is no case's name is forgotten, or misspelt.", _judge_names)
    return (own, *(Case(profile, one.name, one.meaning, _examine(one)) for one in suite), *claims)


def conformance_test(profile: Profile) -> Callable[..., None]:
    """A test function for pytest, with one test for each case: all that a vendor's test file needs."""
    import pytest

    @pytest.mark.parametrize("case", cases(profile), ids=str)
    def test_conforms(case: Case, tmp_path: Path) -> None:
        case(tmp_path)

    return test_conforms


def run(profile: Profile, folder: Path | None = None) -> Iterator[Result]:
    """The results of all cases, one by one, each in a new folder beneath `folder` (or the system's place for such)."""
    for case in cases(profile):
        with TemporaryDirectory(prefix="lamina-conformance-", dir=folder, ignore_cleanup_errors=True) as empty:
            yield case.result(Path(empty))


def claimed(profile: Profile, folder: Path) -> Capability:
    """What the chain of a profile claims. Raises what the modules raise."""

    def ask(_: Engine) -> Capability:
        with connected(profile.make, folder) as chain:
            return chain.capabilities

    return in_request(ask, profile.time_limit)


def in_request(function: Callable[[Engine], _T], time_limit: float) -> _T:
    """Call `function` as a request on an event loop of its own; what it returns.

    Raises AssertionError where it does not end within `time_limit` seconds, else what it raises.
    """

    async def serve() -> _T:
        engine = Engine(asyncio.get_running_loop())
        try:
            request = asyncio.ensure_future(engine.run(function, engine))
            done, _ = await asyncio.wait({request}, timeout=time_limit)
            assert done, f"it did not end within {time_limit:g} s"
            assert not request.cancelled(), "it ended as if its client had cancelled it, which nobody did"
            return request.result()
        finally:
            engine.close()

    return asyncio.run(serve())


# Bodies of cases.


def _examine(entry: Entry) -> Callable[[Profile, Path], None]:
    def body(profile: Profile, folder: Path) -> None:
        if entry.feature not in profile.features():
            raise NotClaimed
        _run(entry, profile, folder, entry.needs)

    return body


def _run(entry: Entry, profile: Profile, folder: Path, needs: Capability = _NOTHING) -> None:
    def body(engine: Engine) -> None:
        subject = Trial(profile, folder, make_token(), engine)
        if needs:
            with subject.chain() as chain:
                has = chain.capabilities
            if needs not in has:
                raise NotClaimed
        entry.run(subject)

    in_request(body, profile.time_limit)


def _claim_name(one: Capability) -> str:
    return f"{CLAIM}{str(one.name).lower()}"


def _claim_meaning(one: Capability) -> str:
    return f"The chain claims {one.name} if the profile says so, and if it can do it."


def _claim_judge(one: Capability) -> Callable[[Profile, Path], None]:
    def body(profile: Profile, folder: Path) -> None:
        has = claimed(profile, folder)
        stated = profile.capabilities
        if stated is not None and (one in stated) != (one in has):
            states, claims = ("states", "does not claim") if one in stated else ("does not state", "claims")
            raise AssertionError(f"the profile {states} {one.name}, the chain {claims} it")
        if one in has:
            return
        about = [each for each in entries() if one in each.needs and each.needs in has | one]
        if about and _all_pass(about, profile, folder):
            raise AssertionError(f"{one.name} works: claim it")
        raise NotClaimed

    return body


def _judge_users(profile: Profile, folder: Path) -> None:
    if profile.users:
        return
    users = default_users()
    if users is None:
        raise LeftOut("only root can be another user")
    about = [entry for entry in entries() if Feature.USERS in entry.feature]
    if _all_pass(about, replace(profile, users=users), folder):
        raise AssertionError("users are told apart: give the profile `users`")
    raise NotClaimed


def _all_pass(about: Sequence[Entry], profile: Profile, folder: Path) -> bool:
    for entry in about:
        if entry.feature not in profile.features():
            continue
        with TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as empty:
            try:
                _run(entry, profile, _share_in(Path(empty)))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                return False
    return True


def _share_in(folder: Path) -> Path:
    share = folder / "share"
    share.mkdir(exist_ok=True)
    return share


def _judge_names(profile: Profile, folder: Path) -> None:
    names = {str(case) for case in cases(profile)}
    unknown = sorted(set(profile.known_failures) - names)
    if unknown:
        raise AssertionError(f"no case is called {', '.join(unknown)}")


__all__ = [
    "CLAIM",
    "NAMES",
    "Case",
    "Feature",
    "Outcome",
    "Profile",
    "Result",
    "cases",
    "claimed",
    "conformance_test",
    "find_profile",
    "in_request",
    "profile_of",
    "run",
]
