"""Records that cannot be changed, added or taken away unseen: each carries the hash of the line before it. Pure.

A line is a JSON object with its number (`seq`) first and the hash of the line before (`previous`) last; that of the
first is 64 zeros. With a key the hash is an HMAC, and who does not have it cannot write a chain of his own. What is cut
off at the end does not show: that needs a hash that was kept elsewhere (the server's log has one from time to time).
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NOTHING: Final = "0" * 64
"""What the first record says of the line before it."""


_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


def digest(line: bytes, key: bytes = b"") -> str:
    """The hash of a line without its end, in hexadecimal."""
    return hmac.digest(key, line, "sha256").hex() if key else hashlib.sha256(line).hexdigest()


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as the bytes of a line."""
    return _to_json(record).encode("ascii")


class HashChain:
    """Where a chain has come to: the number of its last record, and that line's hash."""

    def __init__(self, key: bytes = b"", number: int = 0, last: str = NOTHING) -> None:
        self.key = key
        self.number = number
        self.last = last

    def seal(self, record: Mapping[str, Any]) -> bytes:
        """The line of the next record."""
        self.number += 1
        line = encode({"seq": self.number, **record, "previous": self.last})
        self.last = digest(line, self.key)
        return line


def resume(tail: bytes, key: bytes = b"") -> tuple[HashChain, bool]:
    """The chain to go on with after the end of a file, and whether its last line is not whole.

    `tail` is the end of the file: two lines at least, or all there are.
    """
    lines = tail.split(b"\n")
    torn = lines.pop()
    lines = [line for line in lines if line]
    number = next((record["seq"] for record in map(_record, reversed(lines)) if record is not None), 0)
    last = torn or (lines[-1] if lines else b"")
    return HashChain(key, number, digest(last, key) if last else NOTHING), bool(torn)


def _record(line: bytes) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("seq"), int):
        return None
    return record if isinstance(record.get("previous"), str) else None


@dataclass
class Verdict:
    """What was found in a chain. `problems` are sentences that begin with the number of the line; none: it is whole."""

    first: int = 0
    last: int = 0
    records: int = 0
    last_hash: str = NOTHING
    problems: list[str] = field(default_factory=list)


def verify(lines: Iterable[bytes], key: bytes = b"") -> Verdict:
    """Look at the lines of a file, or of several that follow each other."""
    verdict = Verdict()
    before, torn = "", False
    for at, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\n")
        record = _record(line)
        if record is None:
            if torn:
                verdict.problems.append(f"line {at - 1} is no record")
            torn = True
        else:
            _check(verdict, record, at, before, torn)
            torn = False
        before = digest(line, key)
    if torn:
        verdict.problems.append("the last line is not whole")
    verdict.last_hash = before or NOTHING
    return verdict


def _check(verdict: Verdict, record: Mapping[str, Any], at: int, before: str, torn: bool) -> None:
    number, problems = record["seq"], verdict.problems
    if torn and not record.get("torn"):
        problems.append(f"line {at - 1} is no record, and no crash of the server is noted after it")
    if not before:
        verdict.first = number
        if number == 1 and record["previous"] != NOTHING:
            problems.append(f"line {at} is the first record, and follows another")
    elif not hmac.compare_digest(record["previous"].encode(), before.encode()):
        problems.append(f"line {at} does not follow the line before it: something was changed, added or taken away")
    elif verdict.records and number != verdict.last + 1:
        problems.append(f"line {at} is record {number}, after record {verdict.last}")
    verdict.records += 1
    verdict.last = number
