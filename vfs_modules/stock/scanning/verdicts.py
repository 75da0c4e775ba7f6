"""Verdicts that are kept: of a file as it was, as long as it has not changed and the scanner knows no more. Pure."""

from collections import OrderedDict
from typing import Final, NamedTuple

from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.stock.scanning.clamd_protocol import Outcome, Verdict

_GRAIN_NS: Final = 100_000_000
"""A file that was changed this shortly before it was read may be changed again without its times showing it."""


class _State(NamedTuple):
    """What changes when a file does."""

    size: int
    mtime_ns: int
    ctime_ns: int


class Verdicts:
    """At most `limit` verdicts, each good for `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._lifetime_ns = limit, round(seconds * 1_000_000_000)
        self._kept: OrderedDict[tuple[int, int], tuple[_State, Verdict, int]] = OrderedDict()
        self._version = ""

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, stat: FileStat, now_ns: int) -> Verdict | None:
        """The verdict on a file as it is."""
        found = self._kept.get((stat.dev, stat.ino))
        if found is None:
            return None
        state, verdict, since = found
        if state != _State(stat.size, stat.mtime_ns, stat.ctime_ns) or now_ns - since > self._lifetime_ns:
            del self._kept[stat.dev, stat.ino]
            return None
        self._kept.move_to_end((stat.dev, stat.ino))
        return verdict

    def keep(self, stat: FileStat, verdict: Verdict, begun_ns: int) -> None:
        """Keep a verdict on a file that was like `stat` before it was read from `begun_ns` on."""
        if verdict.outcome is Outcome.FAILED or not self._limit:
            return
        if begun_ns - max(stat.mtime_ns, stat.ctime_ns) < _GRAIN_NS:
            return
        self._kept[stat.dev, stat.ino] = (_State(stat.size, stat.mtime_ns, stat.ctime_ns), verdict, begun_ns)
        self._kept.move_to_end((stat.dev, stat.ino))
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def is_of(self, version: str) -> None:
        """Forget all that a scanner with other signatures has said."""
        if version and version != self._version:
            self._kept.clear()
            self._version = version
