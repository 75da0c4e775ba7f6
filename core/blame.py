"""Which module of which share something unexpected comes of, as a line for the administrator.

Errors that modules mean to raise are `OSError`. Anything else is a fault of a program; whose it is its traceback says.
"""

import logging
import traceback
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


def log_unexpected(error: Exception, what: str) -> None:
    """One line for a fault of a module, with the traceback for whoever debugs it; the whole for one of Lamina."""
    place = raised_by(error)
    if place is None:
        log.error("%s failed; this is a bug in Lamina", what, exc_info=error)
        return
    reason = traceback.format_exception_only(error)[-1].strip()
    log.error("%s failed with %s; the client is told of an internal error", place, reason)
    log.debug("%s", place, exc_info=error)
