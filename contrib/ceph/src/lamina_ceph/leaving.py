"""What nobody waits for but the end of the process: leaving a cluster takes a second, or for ever.

The library must not be in the middle of that when the process ends, nor may a cluster that is gone keep it from ending.
"""

import atexit
import contextlib
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

_SECONDS: Final = 10.0
_leaving: set[threading.Thread] = set()


def beside(function: Callable[[], object]) -> None:
    """Do something on a thread of its own; its errors do not matter any more."""

    def run() -> None:
        with contextlib.suppress(OSError):
            function()
        _leaving.discard(thread)

    thread = threading.Thread(target=run, name="lamina-ceph-leaving", daemon=True)
    _leaving.add(thread)
    thread.start()


@atexit.register
def wait_for_all() -> None:
    """Wait until all that is done beside is done, but not for long."""
    until = monotonic() + _SECONDS
    for thread in list(_leaving):
        thread.join(max(0.0, until - monotonic()))
