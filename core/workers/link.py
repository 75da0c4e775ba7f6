"""The socket between the supervisor and a worker: connections go one way, with their descriptors, news the other.

Each datagram (SOCK_SEQPACKET) is one JSON object. That it is closed tells either that the other has ended.
"""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

_LONGEST: Final = 65536

Heard = Callable[[Mapping[str, Any], socket.socket | None], None]
"""Called with each message, and the socket that came with it."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new link."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class Link:
    """One end. What cannot be sent at once waits. `ended` is called once, when the other end is gone."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, end: socket.socket, heard: Heard, ended: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._end = end
        self._heard = heard
        self._ended = ended
        self._waiting: deque[tuple[bytes, socket.socket | None]] = deque()
        self._closed = False
        loop.add_reader(end.fileno(), self._receive)

    def send(self, message: Mapping[str, Any], passed: socket.socket | None = None) -> None:
        """Send a message, and a socket, which is closed here then."""
        if self._closed:
            if passed is not None:
                passed.close()
            return
        self._waiting.append((json.dumps(message).encode(), passed))
        if len(self._waiting) == 1:
            self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            data, passed = self._waiting[0]
            try:
                socket.send_fds(self._end, [data], [passed.fileno()] if passed is not None else [])
            except BlockingIOError:
                self._loop.add_writer(self._end.fileno(), self._send_waiting)
                return
            except OSError:
                self.close()
                return
            self._waiting.popleft()
            if passed is not None:
                passed.close()
        self._loop.remove_writer(self._end.fileno())

    def _receive(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, _LONGEST, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.close()
            self._ended()
            return
        passed = socket.socket(fileno=descriptors[0]) if descriptors else None
        self._heard(json.loads(data), passed)

    def close(self) -> None:
        """Neither send nor hear any more."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._end.fileno())
        self._loop.remove_writer(self._end.fileno())
        self._end.close()
        for _, passed in self._waiting:
            if passed is not None:
                passed.close()
        self._waiting.clear()
