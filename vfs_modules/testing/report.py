"""What a run of the conformance suite has shown, for a person and for a program."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lamina import __version__
from lamina.vfs_modules.operations import API_VERSION, Capability
from lamina.vfs_modules.testing.conformance import Outcome, Result
from lamina.vfs_modules.testing.profile import Feature, Profile
from lamina.vfs_modules.testing.suite import entries


@dataclass(frozen=True, slots=True)
class Claim:
    """One capability or feature: whether it is claimed, how many cases are about it, and how many of them passed."""

    name: str
    claimed: bool
    cases: int
    passed: int

    @property
    def is_proved(self) -> bool:
        """Whether it is claimed, and all there is about it has passed."""
        return self.claimed and 0 < self.cases == self.passed

    def __str__(self) -> str:
        if not self.claimed:
            return "not claimed"
        if not self.cases:
            return "claimed; no case is about it"
        return "proved" if self.is_proved else "claimed, NOT proved"


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one profile. `chain`: the names of its modules from the top; `capabilities`: what it claims."""

    profile: Profile
    chain: tuple[str, ...]
    capabilities: Capability
    results: Sequence[Result]

    @property
    def conforms(self) -> bool:
        """Whether no case has failed."""
        return all(result.outcome is not Outcome.FAILED for result in self.results)

    def claims(self) -> Iterator[Claim]:
        """Every capability and every feature, in their order."""
        passed = {result.check for result in self.results if result.outcome is Outcome.PASSED}
        suite = entries()
        features = self.profile.features()
        for one in Capability:
            has = self.capabilities | one
            about = [e.name for e in suite if one in e.needs and e.needs in has and e.feature in features]
            yield Claim(str(one.name), one in self.capabilities, len(about), len(passed.intersection(about)))
        for feature in Feature:
            about = [e.name for e in suite if feature in e.feature and e.needs in self.capabilities]
            yield Claim(str(feature.name), feature in features, len(about), len(passed.intersection(about)))

    def counts(self) -> dict[str, int]:
        """How many cases ended how."""
        counts = Counter(result.outcome for result in self.results)
        return {outcome.name.lower(): counts[outcome] for outcome in Outcome}

    def lines(self) -> Iterator[str]:
        """The end of the report, for a person: every claim, and a sum."""
        for claim in self.claims():
            of = f"{claim.passed} of {claim.cases} cases" if claim.claimed and claim.cases else ""
            yield f"{claim.name:<24} {claim!s:<32} {of}".rstrip()
        counts = {outcome: sum(result.outcome is outcome for result in self.results) for outcome in Outcome}
        yield ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items())
        yield f"{self.profile.name} {'conforms' if self.conforms else 'does NOT conform'}"

    def data(self) -> dict[str, Any]:
        """The whole report, for a program."""
        return {
            "profile": self.profile.name,
            "lamina": __version__,
            "contract": ".".join(map(str, API_VERSION)),
            "chain": list(self.chain),
            "conforms": self.conforms,
            "counts": self.counts(),
            "claims": {
                claim.name: {
                    "claimed": claim.claimed,
                    "proved": claim.is_proved,
                    "cases": claim.cases,
                    "passed": claim.passed,
                }
                for claim in self.claims()
            },
            "cases": [
                {
                    "case": result.check,
                    "meaning": result.meaning,
                    "outcome": result.outcome.name.lower(),
                    "reason": result.reason,
                }
                for result in self.results
            ],
        }


def line_of(result: Result) -> str:
    """One case as a line, and the reason below where there is one."""
    reason = "".join(f"\n    {line}" for line in result.reason.splitlines())
    return f"{result.outcome.value:<14} {result.check}{reason}"


__all__ = ["Claim", "Report", "line_of"]
