"""The bounded queue between requests and where audit records go, and the thread that empties it.

Nobody ever waits for it. What has no room is dropped and counted, and the count is told in the log and as a record of
its own; or (`when_full = "refuse"`) the operation is refused before it is done.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.stock.auditing.sinks import Record, Sink
from lamina.vfs_modules.token import SERVER_TOKEN

log = logging.getLogger(__name__)

_BATCH: Final = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_COMPLAIN_SECONDS: Final = 30.0


class AuditWriter:
    """Takes records to a sink. `limit`: how many may wait. Its methods may be called on any thread."""

    def __init__(self, sink: Sink, limit: int, title: str, stamp: Callable[[], str]) -> None:
        """`title` is what the log calls it; `stamp` gives the time for records of the writer's own."""
        self.limit = limit
        self.dropped = 0
        self._sink = sink
        self._title = title
        self._stamp = stamp
        self._records: deque[Record] = deque()
        self._reserved = 0
        self._ready = threading.Condition()
        self._closing = False
        self._end = threading.Event()
        self._deadline = 0.0
        self._complained = -_COMPLAIN_SECONDS
        self._told_dropped = 0
        self._thread = threading.Thread(target=self._run, name="lamina-audit-writer", daemon=True)

    def start(self) -> None:
        """Get the sink ready and begin. Raises OSError."""
        self._sink.open()
        self._thread.start()

    def reserve(self) -> bool:
        """Keep a place for one record; False where there is none."""
        with self._ready:
            if len(self._records) + self._reserved >= self.limit:
                return False
            self._reserved += 1
            return True

    def release(self) -> None:
        """Give back a place that was kept."""
        with self._ready:
            self._reserved -= 1

    def add(self, record: Record, *, reserved: bool = False, beyond: bool = False) -> None:
        """Take a record, to the place that was kept for it, where there is one, or `beyond`; else it is dropped."""
        with self._ready:
            if reserved:
                self._reserved -= 1
            elif not beyond and len(self._records) + self._reserved >= self.limit:
                self.dropped += 1
                return
            self._records.append(record)
            self._ready.notify()

    def close(self, seconds: float = 5.0) -> None:
        """Write what is waiting, for so long at most, and end."""
        with self._ready:
            self._deadline = time.monotonic() + seconds
            self._closing = True
            self._end.set()
            self._ready.notify()
        self._thread.join(seconds + 1.0)
        lost = len(self._records)
        if lost:
            log.error("audit: %s: %d records were not written before the end", self._title, lost)

    def _run(self) -> None:
        # A thread begins with the identity of whoever made it.
        assume(SERVER_TOKEN)
        while True:
            with self._ready:
                while not (self._records or self._closing):
                    self._ready.wait()
                if not self._records and not self._untold():
                    break
            if not self._write_some():
                break
        self._sink.close()

    def _untold(self) -> int:
        return self.dropped - self._told_dropped

    def _write_some(self) -> bool:
        """Write what is there; False where it is time to end without."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self._tell_dropped()
                # The records stay in the queue until they are written: they take the room they are said to take.
                batch = [self._records[index] for index in range(min(_BATCH, len(self._records)))]
                taken = self._sink.write(batch) if batch else 0
            except OSError as error:
                self._complain(error)
            else:
                with self._ready:
                    for _ in range(taken):
                        self._records.popleft()
                return True
            if not self._pause(pause):
                return False
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _pause(self, seconds: float) -> bool:
        """Wait before the next attempt, less if it is time to end; False where there is no time for another."""
        if not self._closing:
            self._end.wait(seconds)
            return True
        time.sleep(_FIRST_PAUSE)
        return time.monotonic() < self._deadline

    def _tell_dropped(self) -> None:
        count = self._untold()
        if count:
            self._sink.write([{"time": self._stamp(), "event": "dropped", "count": count}])
            self._told_dropped += count
            log.warning("audit: %s: %d records were dropped: they came faster than they went", self._title, count)

    def _complain(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._complained >= _COMPLAIN_SECONDS:
            self._complained = now
            reason = error.strerror or str(error)
            log.error("audit: %s: %s; %d records wait", self._title, reason, len(self._records))


class _Shared:
    """A writer and how many modules use it."""

    def __init__(self, writer: AuditWriter) -> None:
        self.writer = writer
        self.users = 1


_writers: dict[str, _Shared] = {}
_lock = threading.Lock()


def share_writer(title: str, make: Callable[[], AuditWriter]) -> AuditWriter:
    """The writer called `title`, made and started if nobody has it: several shares may write to one file.

    Raises OSError where it cannot start.
    """
    with _lock:
        shared = _writers.get(title)
        if shared is not None:
            shared.users += 1
            return shared.writer
        writer = make()
        writer.start()
        _writers[title] = _Shared(writer)
        return writer


def give_back_writer(title: str) -> None:
    """Use it no more; the last one closes it, which may take a while."""
    with _lock:
        shared = _writers[title]
        shared.users -= 1
        if shared.users:
            return
        del _writers[title]
        # Inside the lock: who opens the same file next must find it closed.
        shared.writer.close()
