"""The list of leaf tests with what Lamina must do in each: `expected.tsv`.

Four columns with tabs between: the test's name; `pass`, `fail` (a known failure, with its reason) or `skip` (smbtorture
itself leaves the test out, with the reason); what the test needs (`share=NAME`, `slow`, or name=value options of
smbtorture, spaces between, in which @FOLDER@ is the folder behind the share); the reason. Lines that begin with # are
comments.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.smbtorture.runner import Outcome, Verdict

EXPECTED = Path(__file__).with_name("expected.tsv")
EXPECTATIONS = ("pass", "fail", "skip")


class TortureTest(NamedTuple):
    """One row of the list. `share` is empty where any share will do."""

    name: str
    expect: str
    reason: str
    share: str = ""
    slow: bool = False
    options: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The suite: smb2.lock for smb2.lock.cancel."""
        return ".".join(self.name.split(".")[:2])


def load(path: Path = EXPECTED) -> list[TortureTest]:
    """All rows. Raises ValueError with the line's number for one that makes no sense."""
    lines = path.read_text().splitlines()
    return [_parse(line, number) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]


def _parse(line: str, number: int) -> TortureTest:
    name, expect, needs, reason = (*line.split("\t"), "", "", "")[:4]
    if expect not in EXPECTATIONS:
        raise ValueError(f"line {number}: {expect!r} is none of {', '.join(EXPECTATIONS)}")
    if expect != "pass" and not reason:
        raise ValueError(f"line {number}: {name}: what does not pass needs a reason")
    words = needs.split()
    share = next((word.removeprefix("share=") for word in words if word.startswith("share=")), "")
    options = tuple(word for word in words if "=" in word and not word.startswith("share="))
    return TortureTest(name, expect, reason, share, "slow" in words, options)


def select(tests: Iterable[TortureTest], patterns: Sequence[str]) -> list[TortureTest]:
    """Those whose name is one of `patterns` or lies beneath one; all without patterns."""
    return [test for test in tests if not patterns or any(_matches(test.name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(pattern.rstrip(".") + ".")


def surprise(test: TortureTest, outcome: Outcome) -> str:
    """What is wrong with an outcome, for the person who reads the report; empty where it is what the list says."""
    verdict = outcome.verdict
    if test.expect == "pass" and verdict is not Verdict.PASS:
        return f"{test.name}: {verdict.value} ({outcome.reason})"
    if test.expect == "fail" and verdict is Verdict.PASS:
        return f"{test.name} now passes: move it to `pass` in {EXPECTED.name} (it stood there for: {test.reason})"
    if test.expect == "skip" and verdict is not Verdict.SKIP:
        return f"{test.name} is no longer skipped but ends as {verdict.value}: correct {EXPECTED.name}"
    return ""


def promote(names: set[str], path: Path = EXPECTED) -> None:
    """Move known failures that pass now to `pass` in the list, and drop their reasons."""
    lines = []
    for line in path.read_text().splitlines():
        name, expect, *rest = (*line.split("\t"), "", "")
        lines.append("\t".join([name, "pass", rest[0], ""]) if name in names and expect == "fail" else line)
    path.write_text("\n".join(lines) + "\n")
