"""The inotify descriptor of a backend: one for all of its watches, read when somebody asks or the event loop says so.

The kernel keeps one watch per directory and descriptor; here it is shared by all who want to know of the directory.
Each of them has a `Spot`, and is a `Listener`. Everything is done on the event loop's thread; no thread waits.
"""

import array
import asyncio
import errno
import fcntl
import os
import struct
import termios
from typing import Final, Protocol

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.names import decode_name
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.syscalls.attributes import proc_path
from lamina.vfs_modules.token import ImpersonationToken

IN_MODIFY, IN_ATTRIB = 0x2, 0x4
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_ISDIR = 0x40000000
NAMES: Final = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
CONTENTS: Final = IN_MODIFY | IN_ATTRIB

_EVENT = struct.Struct("=iIII")
_IN_UNMOUNT, _IN_OVERFLOW, _IN_IGNORED = 0x2000, 0x4000, 0x8000
_IN_ONLYDIR, _IN_MASK_ADD = 0x01000000, 0x20000000
_BUFFER: Final = 65536

_ALL: Final = 1 << 62
_AT_ONCE: Final = 2 * _BUFFER
"""Bytes of events that are told before the event loop serves others again, where nobody waits for them."""

_ROUNDS: Final = 4
"""How often listeners may ask for more before the event loop serves others again."""


class Listener(Protocol):
    """Who is told of events."""

    def event(self, spot: "Spot", mask: int, cookie: int, name: str) -> None:
        """Something happened to `name` in the directory of a spot; `cookie` is one for both halves of a rename."""
        ...

    def lost(self) -> None:
        """The kernel's queue was full: events of any directory are missing."""
        ...

    def gone(self, spot: "Spot") -> None:
        """The directory of a spot is no more, and the spot with it."""
        ...

    def drained(self) -> bool:
        """Everything the kernel had was told. True: there is more to be read, because of what was done now."""
        ...


class Spot:
    """One listener's interest in one directory. `path` is the listener's own."""

    __slots__ = ("listener", "mask", "number", "path")

    def __init__(self, number: int, mask: int, listener: Listener, path: str) -> None:
        self.number = number
        self.mask = mask
        self.listener = listener
        self.path = path


class Inotify:
    """The descriptor. `limit`: how many directories may be watched together."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.limit = limit
        self._fd = -1
        self._spots: dict[int, list[Spot]] = {}
        self._listeners: set[Listener] = set()
        self._stirred: set[Listener] = set()
        self._pending = array.array("i", [0])
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._spots)

    def add(self, token: ImpersonationToken, fd: int, spot_mask: int, listener: Listener, path: str = "") -> Spot:
        """Begin to watch the directory of a descriptor. ENOSPC or EMFILE at the limits, EACCES without permission."""
        assume(token)
        self._open()
        number = libc.inotify_add_watch(self._fd, proc_path(fd), spot_mask | _IN_ONLYDIR | _IN_MASK_ADD)
        if number < 0:
            libc.fail()
        if number not in self._spots and len(self._spots) >= self.limit:
            libc.inotify_rm_watch(self._fd, number)
            raise OSError(errno.ENOSPC, "as many directories are watched as the share may")
        spot = Spot(number, spot_mask, listener, path)
        self._spots.setdefault(number, []).append(spot)
        return spot

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if self._fd < 0:
                libc.fail()

    def remove(self, spot: Spot) -> None:
        """Stop watching. Nothing happens where the spot is gone already."""
        spots = self._spots.get(spot.number)
        if spots is None or spot not in spots:
            return
        spots.remove(spot)
        if not spots:
            del self._spots[spot.number]
            libc.inotify_rm_watch(self._fd, spot.number)

    # -- who is told when everything was read, and of what gets lost ------------------------------------------------

    def listen(self, listener: Listener, on_loop: bool) -> None:
        """Enter a listener. `on_loop`: the running event loop reads for it; without a loop it has to ask itself."""
        self._listeners.add(listener)
        if on_loop and (self._loop is None or self._loop.is_closed()):
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            self._open()
            self._loop.add_reader(self._fd, self._on_readable)

    def ignore(self, listener: Listener, off_loop: bool) -> None:
        """Forget a listener whose spots were removed. `off_loop`: the event loop need not read any more."""
        self._listeners.discard(listener)
        self._stirred.discard(listener)
        if off_loop:
            self._leave_loop()

    def _leave_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._fd)

    # -- reading ----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Tell of everything that the kernel has at this moment."""
        self._drain(_ALL)

    def _on_readable(self) -> None:
        self._drain(_AT_ONCE if not self._stirred else _ALL)

    def _drain(self, limit: int) -> None:
        if self._draining or self._fd < 0:
            return
        waiting = self._waiting()
        if not (waiting or self._stirred):
            return
        self._draining = True
        try:
            self._take(min(waiting, limit))
            for _ in range(_ROUNDS):
                if not self._tell_all_is_told():
                    return
                self._take(self._waiting())
            if self._loop is not None:
                self._loop.call_soon(self.drain)
        finally:
            self._draining = False

    def _waiting(self) -> int:
        # Asking costs a third of a read that finds nothing, and mostly there is nothing.
        fcntl.ioctl(self._fd, termios.FIONREAD, self._pending)
        return self._pending[0]

    def _take(self, size: int) -> None:
        """Deliver as many bytes as there were: who adds to them all the time does not keep us here."""
        while size > 0:
            raw = self._read()
            if not raw:
                return
            self._deliver(raw)
            size -= len(raw)

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, _BUFFER)
        except BlockingIOError:
            return b""

    def _tell_all_is_told(self) -> bool:
        stirred, self._stirred = self._stirred, set()
        self._stirred = {listener for listener in stirred if listener.drained()} | self._stirred
        return bool(self._stirred)

    def _deliver(self, raw: bytes) -> None:
        position = 0
        while position < len(raw):
            number, mask, cookie, length = _EVENT.unpack_from(raw, position)
            start = position + _EVENT.size
            position = start + length
            if mask & _IN_OVERFLOW:
                self._lose()
            elif mask & (_IN_IGNORED | _IN_UNMOUNT):
                self._end(number)
            elif length:
                name = decode_name(raw[start:position].rstrip(b"\0"))
                for spot in tuple(self._spots.get(number, ())):
                    if mask & spot.mask:
                        spot.listener.event(spot, mask, cookie, name)
                        self._stirred.add(spot.listener)

    def _lose(self) -> None:
        for listener in tuple(self._listeners):
            listener.lost()
            self._stirred.add(listener)

    def _end(self, number: int) -> None:
        for spot in self._spots.pop(number, ()):
            spot.listener.gone(spot)
            self._stirred.add(spot.listener)

    def close(self) -> None:
        """Give the descriptor back; whoever still listens is told that events are lost."""
        self._lose()
        self._leave_loop()
        self._spots.clear()
        self._listeners.clear()
        self._stirred.clear()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
