"""Watching directories with inotify: one descriptor for a whole backend, drained when somebody asks.

The kernel keeps one watch per directory and descriptor, so watches of the same directory share it here, and each has
its own queue. Nothing runs in the background.
"""

import os
import struct
from collections.abc import Callable

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.names import decode_name
from lamina.vfs_modules.operations import NameEvent
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.syscalls.attributes import proc_path
from lamina.vfs_modules.token import ImpersonationToken

_EVENT = struct.Struct("=iIII")
_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x40, 0x80, 0x100, 0x200
_IN_UNMOUNT, _IN_OVERFLOW, _IN_IGNORED, _IN_ONLYDIR = 0x2000, 0x4000, 0x8000, 0x01000000
_ADDED = _IN_CREATE | _IN_MOVED_TO
_REMOVED = _IN_DELETE | _IN_MOVED_FROM

MAX_QUEUED = 4096
"""Events kept for a watch that nobody polls; beyond that they are given up and it must read its directory again."""

LOST = NameEvent("lost", None)
"""Events were lost, or the directory is gone."""


class InotifyWatch:
    """One watch: the queue of a directory's events for one asker."""

    __slots__ = ("_close", "_drain", "queue")

    def __init__(self, drain: Callable[[], None], close: Callable[["InotifyWatch"], None]) -> None:
        self._drain = drain
        self._close: Callable[[InotifyWatch], None] | None = close
        self.queue: list[NameEvent] = []

    def poll(self) -> list[NameEvent]:
        """Everything that happened since the last poll, in order."""
        self._drain()
        events, self.queue = self.queue, []
        return events

    def put(self, event: NameEvent) -> None:
        """Queue an event; too many become the one that says that they are lost."""
        if len(self.queue) >= MAX_QUEUED or event is LOST:
            self.queue = [LOST]
        else:
            self.queue.append(event)

    def close(self) -> None:
        """Stop watching. Harmless the second time."""
        close, self._close = self._close, None
        if close is not None:
            close(self)


class Notifier:
    """The inotify descriptor of a backend. Used on the event loop's thread only."""

    def __init__(self) -> None:
        self._fd = -1
        self._watches: dict[int, list[InotifyWatch]] = {}

    def watch(self, token: ImpersonationToken, fd: int) -> InotifyWatch:
        """Watch the directory of a descriptor. ENOSPC or EMFILE at the limits, EACCES without read permission."""
        assume(token)
        if self._fd < 0:
            self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if self._fd < 0:
                libc.fail()
        number = libc.inotify_add_watch(self._fd, proc_path(fd), _ADDED | _REMOVED | _IN_ONLYDIR)
        if number < 0:
            libc.fail()
        # What happened before this watch began is not its business.
        self.drain()
        watch = InotifyWatch(self.drain, lambda closed: self._forget(number, closed))
        self._watches.setdefault(number, []).append(watch)
        return watch

    def _forget(self, number: int, watch: InotifyWatch) -> None:
        watches = self._watches.get(number)
        if watches is None or watch not in watches:
            return
        watches.remove(watch)
        if not watches:
            del self._watches[number]
            libc.inotify_rm_watch(self._fd, number)

    def drain(self) -> None:
        """Hand every event that the kernel has to the watches of its directory."""
        while self._fd >= 0:
            try:
                raw = os.read(self._fd, 65536)
            except BlockingIOError:
                return
            self._deliver(raw)
            if len(raw) < 32768:
                return

    def _deliver(self, raw: bytes) -> None:
        position = 0
        while position < len(raw):
            number, mask, _cookie, length = _EVENT.unpack_from(raw, position)
            start = position + _EVENT.size
            position = start + length
            if mask & _IN_OVERFLOW:
                self._lose(list(self._watches))
            elif mask & (_IN_IGNORED | _IN_UNMOUNT):
                self._lose([number])
                self._watches.pop(number, None)
            else:
                name = decode_name(raw[start:position].rstrip(b"\0"))
                event = NameEvent("added" if mask & _ADDED else "removed", name)
                for watch in self._watches.get(number, ()):
                    watch.put(event)

    def _lose(self, numbers: list[int]) -> None:
        for number in numbers:
            for watch in self._watches.get(number, ()):
                watch.put(LOST)

    def close(self) -> None:
        """Give the descriptor back; the watches that are left say that they lost their events."""
        self._lose(list(self._watches))
        self._watches.clear()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
