"""Which module of which share something unexpected comes of, as a line for the administrator.

Errors that modules mean to raise are `OSError`. Anything else is a fault of a program; whose it is its traceback says.
"""

import logging
import time
import traceback
from collections.abc import Hashable
from types import FrameType, TracebackType
from typing import NamedTuple

from lamina.vfs_modules.module import VfsModule

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a module is at: itself, the function, and the line of its source."""

    module: VfsModule
    function: str
    file: str
    line: int

    def __str__(self) -> str:
        share = self.module.share.name if self.module.share is not None else "-"
        return f"share {share}: module {self.module.title} in {self.function} ({self.file}:{self.line})"


def raised_by(error: BaseException) -> Place | None:
    """The module nearest to where `error` was raised; None where none took part."""
    found = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        found = _place(trace.tb_frame, trace.tb_lineno) or found
        trace = trace.tb_next
    return found


def standing_in(frame: FrameType | None) -> Place | None:
    """The module nearest to what `frame` is doing; None where none takes part."""
    while frame is not None:
        found = _place(frame, frame.f_lineno)
        if found is not None:
            return found
        frame = frame.f_back
    return None


def _place(frame: FrameType, line: int) -> Place | None:
    # A function that `around` has made has the module as a variable of its closure.
    module = frame.f_locals.get("self")
    if not isinstance(module, VfsModule):
        return None
    return Place(module, frame.f_code.co_name, frame.f_code.co_filename.rpartition("/")[2], line)


def log_unexpected(error: BaseException, what: str) -> None:
    """One line for a fault of a module, with the traceback for whoever debugs it; the whole for one of Lamina.

    The same fault is told of once a minute, and how often it has come meanwhile.
    """
    place = raised_by(error)
    if place is None:
        log.error("%s failed; this is a bug in Lamina", what, exc_info=error)
        return
    log.debug("%s", place, exc_info=error)
    reason = traceback.format_exception_only(error)[-1].strip()
    withheld = _repeated.withheld((id(place.module), place.function, place.line, type(error)), time.monotonic())
    if withheld is not None:
        again = f" ({withheld} times more in the last minute)" if withheld else ""
        log.error("%s failed with %s; the client is told of an internal error%s", place, reason, again)


class Repeated:
    """What is told again and again is told once in a while."""

    def __init__(self, seconds: float = 60.0, most: int = 1000) -> None:
        """`seconds` between two lines about the same; `most`: how many different things are remembered."""
        self._seconds, self._most = seconds, most
        self._told: dict[Hashable, tuple[float, int]] = {}

    def withheld(self, what: Hashable, now: float) -> int | None:
        """How many lines about this were withheld since the last one; None where this one is to be, too."""
        since, count = self._told.get(what, (float("-inf"), 0))
        if now - since < self._seconds:
            self._told[what] = since, count + 1
            return None
        if len(self._told) >= self._most:
            self._told.clear()
        self._told[what] = now, 0
        return count


_repeated = Repeated()
