"""Playing a recording (`vfs_modules.recording`) to another chain, and telling what that does otherwise.

    recording = Recording.load("/var/tmp/data.jsonl")
    chain = local_chain(tmp_path, MyModule())
    assert replay(recording, chain).differences == ()

The calls are made one after the other, in the order in which they were begun. Handles are those that this chain gives
for the recorded ones. What must be otherwise is no difference (`likeness`): inode numbers, times that nobody has set,
the owner where somebody else plays.
"""

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lamina.vfs_modules.changes import ChangeQuery
from lamina.vfs_modules.described import error_name
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Operations
from lamina.vfs_modules.recording.form import Call, Recording, data_of
from lamina.vfs_modules.recording.values import HANDLE, OBJECT, decode, encode, kind_of
from lamina.vfs_modules.testing import make_token
from lamina.vfs_modules.testing.likeness import Likeness
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_OPENING: Final = frozenset({"open_root", "open", "open_stream"})
_WATCHING: Final = frozenset({"watch", "watch_changes"})
_NOT_PLAYED: Final = frozenset({"set_lease"})


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that ended otherwise. `what`: the part of the result; `was` in the recording, `found` now."""

    number: int
    operation: str
    arguments: str
    what: str
    was: str
    found: str

    def __str__(self) -> str:
        part = f" {self.what}" if self.what else ""
        return f"{self.number}: {self.operation}({self.arguments}){part}: was {self.was}, is {self.found}"


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it: how many calls were made and how many could not be, and the differences in order."""

    made: int
    skipped: int
    differences: tuple[Difference, ...]


def replay(
    recording: Recording, chain: Operations, *, as_recorded: bool = False, ignore: Collection[str] = ()
) -> Replay:
    """Make the calls of a recording on a connected chain, over what was there when the recording began: mostly nothing.

    `as_recorded`: as the users that were recorded, which takes root; else everything is done as whoever runs this.
    `ignore`: operations whose results are not compared. Raises RecordingError for a recording that makes no sense.
    """
    player = _Player(recording, chain, as_recorded, frozenset(ignore))
    for call in recording.calls:
        player.play(call)
    player.end()
    return Replay(player.made, player.skipped, tuple(player.differences))


@dataclass
class _Player:
    recording: Recording
    chain: Operations
    as_recorded: bool
    ignore: frozenset[str]
    made: int = 0
    skipped: int = 0
    differences: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._handles: dict[int, VfsHandle] = {}
        self._watches: list[Any] = []
        self._data_is_known = True
        self._tokens: dict[int, ImpersonationToken] = {0: SERVER_TOKEN}
        for number, line in self.recording.tokens.items():
            self._tokens[number] = _token(line, self.as_recorded)
        pairs = [(line["uid"], self._tokens[number].uid) for number, line in self.recording.tokens.items()]
        groups = [(line["gid"], self._tokens[number].gid) for number, line in self.recording.tokens.items()]
        self._likeness = Likeness(self.recording, dict(pairs), dict(groups))

    def play(self, call: Call) -> None:
        """Make one call and compare."""
        if call.exception or call.operation in _NOT_PLAYED:
            self.skipped += 1
            return
        buffer = bytearray(call.arguments.get("length", 0)) if call.operation == "pread" else bytearray()
        try:
            arguments = self._arguments(call, buffer)
        except (KeyError, ValueError):
            # Its handle is one that this chain has not given: that difference has been told.
            self.skipped += 1
            return
        self.made += 1
        try:
            result = getattr(self.chain, call.operation)(self._tokens[call.token], **arguments)
            result = list(result) if call.operation == "readdir" else result
        except OSError as error:
            self._failed(call, error_name(error))
        else:
            self._succeeded(call, result, buffer)
        finally:
            if call.operation == "close":
                self._handles.pop(call.arguments["handle"][HANDLE], None)

    def _arguments(self, call: Call, buffer: bytearray) -> dict[str, Any]:
        arguments = dict(call.arguments)
        if call.operation == "pread":
            del arguments["length"]
            arguments["buffer"] = memoryview(buffer)
        if call.operation == "pwrite":
            arguments["data"] = memoryview(self._data(call))
        if call.operation == "watch_changes":
            arguments["query"] = ChangeQuery(False, False, lambda: None)
        return {
            key: value if key in ("buffer", "data", "query") and not isinstance(value, dict) else self._decoded(value)
            for key, value in arguments.items()
        }

    def _decoded(self, value: Any) -> Any:
        return decode(value, self._handles.__getitem__)

    def _data(self, call: Call) -> bytes:
        told = call.arguments["data"]
        if "base64" in told:
            data: bytes = decode({"bytes": told["base64"]}, self._handles.__getitem__)
            return data
        self._data_is_known = self._data_is_known and not told["length"]
        return random.Random(call.number).randbytes(told["length"])  # noqa: S311 - it is to be repeatable

    def _failed(self, call: Call, error: str) -> None:
        if error != call.error:
            self._differ(call, "", call.error or _short(call.result), error)

    def _succeeded(self, call: Call, result: Any, buffer: bytearray) -> None:
        handle = result if isinstance(result, VfsHandle) else None
        if call.operation in _WATCHING:
            self._watches.append(result)
        if call.error:
            self._differ(call, "", call.error, _short(encode(result, lambda _: 0)))
            if handle is not None:
                self.chain.close(self._tokens[call.token], handle)
            return
        if handle is not None:
            self._handles[call.result[HANDLE]] = handle
        elif call.operation == "pread":
            self._compare_data(call, result, buffer)
        elif kind_of(call.result) != OBJECT:
            self._compare(call, result)

    def _compare_data(self, call: Call, count: int, buffer: bytearray) -> None:
        told = call.result
        if count != told["count"]:
            self._differ(call, "count", str(told["count"]), str(count))
            return
        found = data_of(bytes(buffer[:count]), self.recording.data)
        if self._data_is_known and found != told["data"]:
            self._differ(call, "data", _short(told["data"]), _short(found))

    def _compare(self, call: Call, result: Any) -> None:
        encoded = encode(result, lambda _: 0)
        was = call.result
        if call.operation == "readdir":
            if not was["complete"]:
                return
            was = was["entries"]
        for what, expected, found in self._likeness.compare(was, encoded):
            self._differ(call, what, _short(expected), _short(found))

    def _differ(self, call: Call, what: str, was: str, found: str) -> None:
        if call.operation not in self.ignore:
            arguments = ", ".join(f"{key}={_short(value)}" for key, value in call.arguments.items())
            self.differences.append(Difference(call.number, call.operation, arguments, what, was, found))

    def end(self) -> None:
        """Give back what the recording left open."""
        for watch in self._watches:
            watch.close()
        for handle in reversed(self._handles.values()):
            self.chain.close(SERVER_TOKEN, handle)


def _token(line: Mapping[str, Any], as_recorded: bool) -> ImpersonationToken:
    ids = (line["uid"], line["gid"], line["groups"]) if as_recorded else (None, None, ())
    groups: Iterable[int] = ids[2]
    token = make_token(
        ids[0], ids[1], groups, user_name=line["user"], user_sid=line["sid"], group_sids=line["group_sids"],
        privileges=line["privileges"],
    )  # fmt: skip
    return _with_substitutions(token, line["substitutions"])


def _with_substitutions(token: ImpersonationToken, substitutions: Mapping[str, str]) -> ImpersonationToken:
    names = (name for name in ImpersonationToken.__dataclass_fields__ if name not in ("substitutions", "cache_id"))
    return ImpersonationToken(**{name: getattr(token, name) for name in names}, substitutions=dict(substitutions))


def _short(value: Any) -> str:
    """An encoded value in few words."""
    kind = kind_of(value)
    if kind == HANDLE:
        return f"handle {value[HANDLE]}"
    if kind:
        content = value[kind]
        value = content if not isinstance(content, dict) else {k: v for k, v in content.items() if v is not None}
    if isinstance(value, dict):
        value = " ".join(f"{key}={_short(one)}" for key, one in value.items())
    text = str(value) if value is not None else "nothing"
    return text if len(text) <= 120 else text[:117] + "…"
