"""Running the conformance suite on a module: as the tests of its distribution, and as `lamina module test`.

In a test file it is one line and a function::

    @pytest.mark.parametrize("case", cases(MyModule), ids=str)
    def test_conforms(case, tmp_path):
        case(tmp_path)

A module that stands above others is tried on the chain that a share has by default, as far as its declarations allow,
or on another one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lamina.vfs_modules.chain import Chain, build_chain
from lamina.vfs_modules.module import Backend, ModuleError, ShareInfo, VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.order import Declared, declared, judge
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.posix.backend import PosixBackend
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.testing.hand import NEEDS, Check
from lamina.vfs_modules.testing.suite import checks

USUAL: tuple[type[VfsModule], ...] = (StreamsXattrModule, DosAttributesModule, PosixBackend)
"""What a module that is no backend is tried with unless something else is asked for."""


class Outcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_CLAIMED = "not claimed"


@dataclass(frozen=True, slots=True)
class Result:
    """One check: its name, what it is for, how it ended, and for one that failed why."""

    check: str
    meaning: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A module with its options and what it is tried with; makes a chain of new instances for each check."""

    kind: type[VfsModule]
    options: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[type[VfsModule], ...] | None = None

    def kinds(self) -> tuple[type[VfsModule], ...]:
        """The classes of the chain, in an order that suits their declarations. Raises ModuleError if there is none."""
        own = declared(self.kind)
        if self.others is not None:
            pieces: tuple[type[VfsModule], ...] = (self.kind, *self.others)
        elif issubclass(self.kind, Backend):
            pieces = (self.kind,)
        else:
            pieces = (self.kind, *(one for one in USUAL if not _excluded(own, declared(one))))
        judgement = judge([declared(one) for one in pieces])
        if judgement.order is None:
            raise ModuleError(f"{own.name!r} cannot be tried: {judgement}")
        return tuple(pieces[position] for position in judgement.order)

    def chain(self, folder: Path) -> Chain:
        """A connected chain over an empty folder. Raises what the modules raise."""
        modules = [kind(kind.Options(**self.options)) if kind is self.kind else kind() for kind in self.kinds()]
        chain = build_chain(modules, ShareInfo("test", str(folder)))
        chain.connect()
        return chain

    def capabilities(self) -> Capability:
        """What the chain claims."""
        with TemporaryDirectory(prefix="lamina-conformance-") as folder:
            chain = self.chain(Path(folder))
            claimed = chain.capabilities
            chain.disconnect()
        return claimed


def _excluded(own: Declared, other: Declared) -> bool:
    """Whether a module leaves no place for one of the usual ones: it is that one, or does the same, or says so."""
    same = own.name == other.name or set(own.provides) & set(other.provides)
    return bool(same) or any(map(other.answers_to, own.conflicts)) or any(map(own.answers_to, other.conflicts))


@dataclass(frozen=True, slots=True)
class Case:
    """One check of one subject; called with an empty folder it raises AssertionError where it finds a fault."""

    subject: Subject
    check: Check

    def __str__(self) -> str:
        return self.check.__name__

    def __call__(self, folder: Path) -> bool:
        """Run the check; False where it is about something that the chain does not claim."""
        chain = self.subject.chain(folder)
        try:
            if NEEDS[self.check] not in chain.capabilities:
                return False
            self.check(chain, make_token())
        finally:
            chain.disconnect()
        return True

    def result(self, folder: Path) -> Result:
        """Run the check and tell how it ended, whatever the module raises."""
        meaning = (self.check.__doc__ or "").strip().partition("\n")[0]
        try:
            outcome, reason = (Outcome.PASSED if self(folder) else Outcome.NOT_CLAIMED), ""
        except Exception as error:  # a module is anybody's code
            outcome, reason = Outcome.FAILED, f"{type(error).__name__}: {error}".rstrip(": ")
        return Result(str(self), meaning, outcome, reason)


def cases(
    kind: type[VfsModule],
    options: Mapping[str, Any] | None = None,
    others: Sequence[type[VfsModule]] | None = None,
) -> tuple[Case, ...]:
    """All checks for a module class: with these options, and in a chain with these `others` (the last a backend)."""
    subject = Subject(kind, dict(options or {}), None if others is None else tuple(others))
    return tuple(Case(subject, check) for check in checks())


def run(subject: Subject, folder: Path | None = None) -> Iterator[Result]:
    """The results of all checks, one by one, each in a new folder beneath `folder` (or the system's place for such)."""
    for check in checks():
        with TemporaryDirectory(prefix="lamina-conformance-", dir=folder) as empty:
            yield Case(subject, check).result(Path(empty))


def proved(subject: Subject, results: Sequence[Result]) -> dict[str, int]:
    """For each capability that the chain claims, how many of the checks about it have passed."""
    claimed = subject.capabilities()
    passed = {result.check for result in results if result.outcome is Outcome.PASSED}
    return {
        str(one.name): sum(one in NEEDS[check] for check in checks() if check.__name__ in passed)
        for one in Capability
        if one in claimed
    }


def verdict(results: Sequence[Result], claims: Mapping[str, int]) -> Iterator[str]:
    """The end of a report: what is claimed and how far it was proved, and how many checks ended how."""
    for name, count in claims.items():
        yield f"claimed: {name:<22} {f'{count} checks passed' if count else 'no check is about it'}"
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    yield ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items())
