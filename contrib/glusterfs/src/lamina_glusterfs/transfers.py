"""Reads, writes and syncs that the library does while nobody waits on a thread: it calls back on one of its own.

A transfer of 4 KiB takes two thirds of the time so that a thread which waits for it takes. What is read goes into a
buffer of this module's first: a call that was given up may still fill it, when the client's has another use already.
What is written the library has copied when the call returns.
"""

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from lamina.vfs_modules.workers import Answer

from lamina_glusterfs.binding import Gfapi, error_of, gfapi
from lamina_glusterfs.opened import Opened

_KEPT: Final = 16
_LARGEST_KEPT: Final = 8 << 20


class _Transfer(NamedTuple):
    answer: Answer[int]
    opened: Opened
    buffer: bytearray | None


class Transfers:
    """Those that are under way, of all volumes: one callback is told of them all."""

    def __init__(self, api: Gfapi) -> None:
        self._api = api
        self._under_way: dict[int, _Transfer] = {}
        self._next = itertools.count(1).__next__
        self._buffers: dict[int, list[bytearray]] = {}
        self._callback = api.ffi.callback("glfs_io_cbk", self._done)

    def begin(self, opened: Opened, start: Callable[[Any, Any], int], buffer: bytearray | None = None) -> Answer[int]:
        """Start one with `start(callback, data)`, which returns what the library's function does.

        The answer is what the library calls back with, or the OSError that this says.
        """
        answer: Answer[int] = Answer()
        number = self._next()
        opened.enter()
        self._under_way[number] = _Transfer(answer, opened, buffer)
        if start(self._callback, self._api.ffi.cast("void *", number)):
            # It is not called back of what was not begun.
            failed = self._api.ffi.errno
            del self._under_way[number]
            opened.leave(elsewhere)
            raise error_of(failed)
        return answer

    def _done(self, descriptor: Any, count: int, before: Any, after: Any, data: Any) -> None:
        failed = self._api.ffi.errno
        transfer = self._under_way.pop(int(self._api.ffi.cast("uintptr_t", data)))
        transfer.opened.leave(elsewhere)
        if count < 0:
            transfer.answer.fail(error_of(failed))
        else:
            transfer.answer.give(count)

    def buffer(self, size: int) -> bytearray:
        """One of this size, to be given back with `keep` when nobody can be filling it any more."""
        kept = self._buffers.get(size)
        return kept.pop() if kept else bytearray(size)

    def keep(self, buffer: bytearray) -> None:
        """Have a buffer for the next one who needs one of its size."""
        size = len(buffer)
        kept = self._buffers.setdefault(size, []) if size in self._buffers or len(self._buffers) < _KEPT else []
        if (len(kept) + 1) * size <= _LARGEST_KEPT:
            kept.append(buffer)


_made: list[Transfers] = []
_making = threading.Lock()


def transfers() -> Transfers:
    """Those of this process."""
    with _making:
        if not _made:
            _made.append(Transfers(gfapi()))
        return _made[0]


def elsewhere(function: Callable[[], object]) -> None:
    """Close what was given up, on a thread of its own: the library's must not wait for the library."""
    threading.Thread(target=_quietly, args=(function,), daemon=True).start()


def _quietly(function: Callable[[], object]) -> None:
    try:
        function()
    except OSError as error:
        # Whoever had it open was told when it was given up.
        os.strerror(error.errno or 0)


__all__ = ["Transfers", "elsewhere", "transfers"]
