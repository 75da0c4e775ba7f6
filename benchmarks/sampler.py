"""Samples of which function of Lamina's a process is in, taken by itself, by its own processor time.

A profiler beside the process competes with the load generator for a core, and looks when that pauses: always at the
same moments of the work. The timer here counts what the process itself has used, whatever else the machine does. The
kernel looks at it a hundred times a second or so: enough samples take ten seconds.
"""

import dis
import re
import signal
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

START: Final = signal.SIGUSR1
STOP: Final = signal.SIGUSR2
"""The signals by which sampling begins anew, and ends with what it found being written."""

END: Final = "end\n"
"""The last line of what is written."""

_RESUME: Final = dis.opmap["RESUME"]
_SECONDS: Final = 0.001
_OURS: Final = re.compile(r".*/lamina/(?=(?:core|ntfsa|vfs_modules)/)")


class Sampler:
    """Counts, for the main thread, the innermost function of Lamina's; writes lines of COUNT PATH FUNCTION.

    Code of others counts for who called it, the kernel's work too. PATH is `-` where nothing of Lamina's was called.
    """

    def __init__(self, output: Path) -> None:
        # Opened now: a signal comes while the server is somebody else.
        self._output = output.open("w")
        self._found: Counter[tuple[str, str]] = Counter()

    def install(self) -> None:
        """Obey the signals; for the main thread."""
        signal.signal(START, self._start)
        signal.signal(STOP, self._stop)
        signal.signal(signal.SIGPROF, self._take)

    def _start(self, _number: int, _frame: FrameType | None) -> None:
        self._found.clear()
        self._output.seek(0)
        self._output.truncate()
        signal.setitimer(signal.ITIMER_PROF, _SECONDS, _SECONDS)

    def _take(self, _number: int, frame: FrameType | None) -> None:
        if frame is not None and _begins(frame):
            frame = frame.f_back
        while frame is not None and not _OURS.match(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is None:
            self._found["-", "-"] += 1
        else:
            code = frame.f_code
            self._found[_OURS.sub("", code.co_filename), code.co_qualname] += 1

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines = [f"{count} {path} {name}" for (path, name), count in self._found.items()]
        self._output.write("\n".join([*lines, END]))
        self._output.flush()


def _begins(frame: FrameType) -> bool:
    """Whether a function has just been called: what took the time was before it.

    Python looks at signals when it begins a function and not while it is in the event loop's machine code or in the
    kernel, so without this the first function that the loop calls would have its and the kernel's time.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    return at >= 0 and code[at] == _RESUME and code[at + 1] == 0
