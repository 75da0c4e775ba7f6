"""An event loop whose time is as long as one says: when nobody has anything to do, it is the time of the next timer.

So minutes of waiting take no time, and the same seed gives the same run.
"""

import asyncio
import selectors
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

BEGINNING: Final = 10_000.0
_LAST_HOPE: Final = 5.0


class NothingWillHappen(Exception):  # noqa: N818 - a state of affairs
    """Everybody waits, and there is no timer: a run in real time would hang here."""


class _Selector(selectors.BaseSelector):
    """Looks at the real files without waiting, and lets time pass instead."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = BEGINNING

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and timeout is None:
            # Nothing but the end of a thread can still happen.
            ready = self._real.select(_LAST_HOPE)
            if not ready:
                raise NothingWillHappen
        if not ready and timeout:
            self.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop in virtual time."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds of this loop's own time."""
        return self._clock.now

    async def settle(self) -> None:
        """Let everybody do what can be done now; no time passes."""
        await asyncio.sleep(0)
        while self._ready:  # type: ignore[attr-defined]
            await asyncio.sleep(0)

    def timers(self) -> int:
        """How many timers are set."""
        return sum(1 for handle in self._scheduled if not handle.cancelled())  # type: ignore[attr-defined]


class _Clock:
    """The module `time`, but for its monotonic clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.monotonic = loop.time

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def clocks_of_ntfsa(loop: VirtualLoop) -> Iterator[None]:
    """Have every module of ntfsa take the loop's time for that of time.monotonic, with which deadlines are made."""
    clock = _Clock(loop)
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("lamina.ntfsa.") and vars(module).get("time") is time
    ]
    for module in modules:
        module.time = clock  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.time = time  # type: ignore[attr-defined]
