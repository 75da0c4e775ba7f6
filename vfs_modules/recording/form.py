"""The form of a recording, version 1: one JSON object on each line.

The first says what it is: {"lamina": "recording", "version": 1, "share", "data", "started_ns"}. A line with "token"
describes somebody for whom operations are done, before the first of them: his number, name, SIDs, ids, privileges and
substitutions; number 0 is the server itself. A line with "op" is one call: its number in the order in which calls
began, the operation, the token's number, the arguments by their names in the contract, and what came of it: "result",
"error" (the name of an errno) or "exception". A line with "gap" counts calls that were lost, and one with "end" is the
last and says why.

Lines stand in the order in which calls ended. Data of `pread` and `pwrite` is there as the recording's "data" says:
"full" (base64), "hash" (of which equality can be told) or "none"; its length always.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lamina.vfs_modules.syscalls.log_file import read_lines
from lamina.vfs_modules.token import ImpersonationToken

VERSION: Final = 1

DataForm = Literal["full", "hash", "none"]


class RecordingError(ValueError):
    """Something is no recording, or one of another version; the message says which line."""


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call. `error` and `exception` are "" where it has a `result`, which may be None."""

    number: int
    operation: str
    token: int
    arguments: Mapping[str, Any]
    result: Any = None
    error: str = ""
    exception: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording: `calls` in the order in which they began. `is_whole`: nothing was lost or cut off."""

    share: str
    data: DataForm
    started_ns: int
    tokens: Mapping[int, Mapping[str, Any]]
    calls: tuple[Call, ...]
    lost: int = 0
    end: str = ""
    problems: tuple[str, ...] = field(default=())

    @classmethod
    def load(cls, path: str) -> "Recording":
        """Read a file. Raises OSError, or RecordingError for what is none."""
        return cls.parse(read_lines(path))

    @classmethod
    def parse(cls, lines: Iterable[bytes]) -> "Recording":
        """Read lines; a last one that is cut off is told of in `problems`. Raises RecordingError."""
        found = _Found()
        for number, line in enumerate(lines, 1):
            found.add(number, line)
        if found.header is None:
            raise RecordingError("an empty file is no recording")
        header = found.header
        calls = tuple(sorted(found.calls, key=lambda call: call.number))
        end = found.end or "cut off"
        return cls(
            header["share"], header["data"], header["started_ns"], found.tokens, calls,
            found.lost, end, tuple(found.problems),
        )  # fmt: skip

    @property
    def is_whole(self) -> bool:
        """Whether everything that was done is in it."""
        return self.end == "closed" and not self.lost and not self.problems


class _Found:
    """What the lines have brought so far."""

    def __init__(self) -> None:
        self.header: dict[str, Any] | None = None
        self.tokens: dict[int, dict[str, Any]] = {}
        self.calls: list[Call] = []
        self.lost = 0
        self.end = ""
        self.problems: list[str] = []

    def add(self, number: int, line: bytes) -> None:
        if self.problems:
            raise RecordingError(self.problems[0])
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise TypeError("not an object")
        except (ValueError, TypeError) as error:
            if self.header is None:
                raise RecordingError(f"line {number} is not that of a recording: {error}") from error
            self.problems.append(f"line {number} cannot be read: {error}")
            return
        try:
            self._take(entry)
        except (KeyError, TypeError) as error:
            raise RecordingError(f"line {number} lacks something: {error}") from error

    def _take(self, entry: dict[str, Any]) -> None:
        if self.header is None:
            if entry.get("lamina") != "recording":
                raise RecordingError("this is no recording: its first line does not say so")
            if entry["version"] != VERSION:
                raise RecordingError(f"a recording of version {entry['version']}; this Lamina reads version {VERSION}")
            self.header = {key: entry[key] for key in ("share", "data", "started_ns")}
        elif "op" in entry:
            self.calls.append(_call(entry))
        elif "token" in entry:
            self.tokens[entry["token"]] = entry
        elif "gap" in entry:
            self.lost += entry["gap"]
        elif "end" in entry:
            self.end = entry["end"]


def _call(entry: Mapping[str, Any]) -> Call:
    return Call(
        entry["n"], entry["op"], entry["by"], entry["args"], entry.get("result"),
        entry.get("error", ""), entry.get("exception", ""),
    )  # fmt: skip


def header(share: str, data: DataForm, started_ns: int) -> dict[str, Any]:
    """The first line."""
    return {"lamina": "recording", "version": VERSION, "share": share, "data": data, "started_ns": started_ns}


def token_line(number: int, token: ImpersonationToken) -> dict[str, Any]:
    """The line of somebody: what identifies him to modules, and no claims."""
    return {
        "token": number,
        "user": token.user_name,
        "sid": token.user_sid,
        "group_sids": sorted(token.group_sids),
        "uid": token.uid,
        "gid": token.gid,
        "groups": list(token.groups),
        "privileges": sorted(token.privileges),
        "substitutions": dict(token.substitutions),
    }


def data_of(data: memoryview | bytes, form: DataForm) -> dict[str, Any]:
    """The data of a read or a write in a form."""
    told: dict[str, Any] = {"length": len(data)}
    if form == "full":
        told["base64"] = base64.b64encode(data).decode()
    elif form == "hash":
        told["hash"] = hash_of(data)
    return told


def hash_of(data: memoryview | bytes) -> str:
    """What tells data from other data (BLAKE2b, 128 bits)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def as_line(entry: Mapping[str, Any]) -> bytes:
    """An entry as its line."""
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
