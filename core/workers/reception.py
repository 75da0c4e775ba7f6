"""Accepting connections for the workers: wait until a client has said who it is, and hand it on unread.

Who says nothing is dropped after a while, and counts meanwhile as any other connection.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from lamina.core.settings import Limits
from lamina.core.workers.first_message import FIRST, Glance, glance

log = logging.getLogger(__name__)

SILENT_SECONDS: Final = 10.0
"""How long a client has to begin."""

_BACKLOG: Final = 1024
_AT_ONCE: Final = 64
_PEEKED: Final = 128
_PAUSE: Final = 1.0

Place = Callable[[socket.socket, str, bytes], None]
"""Takes a connection: the socket, where it comes from, and the client's guid."""


class Reception:
    """The listening sockets, and the connections whose clients have not said who they are.

    `open_from` counts all connections by address, those of the workers, too: `gone_from` tells of their ends.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, place: Place) -> None:
        self.limits = limits
        self.open_from: Counter[str] = Counter()
        self._loop = loop
        self._place = place
        self._listeners: dict[tuple[str, int], list[socket.socket]] = {}
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._needed: dict[socket.socket, int] = {}

    async def listen(self, address: str, port: int) -> int:
        """Accept connections on `address` ("" is every address of the machine); the port that was bound.

        Raises OSError.
        """
        places = await self._loop.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        made: list[socket.socket] = []
        try:
            for family, kind, protocol, _, place in dict.fromkeys(places):
                made.append(_listener(family, kind, protocol, place, made))
        except BaseException:
            for listener in made:
                listener.close()
            raise
        for listener in made:
            self._loop.add_reader(listener.fileno(), self._accept, listener)
        bound = int(made[0].getsockname()[1])
        self._listeners[address, bound] = made
        return bound

    def stop_listening(self, address: str, port: int) -> None:
        """Accept no more connections where `listen` bound this port."""
        for listener in self._listeners.pop((address, port)):
            self._loop.remove_reader(listener.fileno())
            listener.close()

    def names(self) -> list[tuple[str, int]]:
        """The addresses and ports that are listened on."""
        found = (listener.getsockname() for group in self._listeners.values() for listener in group)
        return [(str(name[0]), int(name[1])) for name in found]

    def close(self) -> None:
        """Accept nothing more, and drop who has not said who he is."""
        for address, port in list(self._listeners):
            self.stop_listening(address, port)
        for connection in list(self._silent):
            self._drop(connection)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("a connection cannot be accepted: %s", error)
                self._pause(listener)
                return
            connection.setblocking(False)
            self._greet(connection, str(peer[0]))

    def _pause(self, listener: socket.socket) -> None:
        # There are no descriptors left, or no memory; the connection is still there, and would be tried without end.
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(_PAUSE, self._go_on, listener)

    def _go_on(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _greet(self, connection: socket.socket, peer: str) -> None:
        limits = self.limits
        if self.open_from.total() >= limits.connections or self.open_from[peer] >= limits.connections_per_address:
            log.warning("refusing a connection from %s: %d connections are open", peer, self.open_from.total())
            connection.close()
            return
        self.open_from[peer] += 1
        self._silent[connection] = self._loop.call_later(SILENT_SECONDS, self._too_late, connection, peer)
        self._need(connection, FIRST)
        self._loop.add_reader(connection.fileno(), self._look, connection, peer)

    def _need(self, connection: socket.socket, wanted: Glance) -> None:
        # What was only looked at is still there: the socket is readable again when there is more of it.
        self._needed[connection] = wanted.needed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted.needed or 1)

    def _look(self, connection: socket.socket, peer: str) -> None:
        try:
            received = connection.recv(_PEEKED, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        seen = glance(received)
        if len(received) < self._needed[connection]:
            # Readable with less than was waited for: there will be no more.
            self._lose(connection, peer)
            return
        self._need(connection, seen)
        if seen.needed:
            return
        self._forget(connection)
        self._place(connection, peer, seen.guid)

    def _too_late(self, connection: socket.socket, peer: str) -> None:
        log.info("closing the connection from %s: it says nothing", peer)
        self._lose(connection, peer)

    def _lose(self, connection: socket.socket, peer: str) -> None:
        self._drop(connection)
        self.gone_from(peer)

    def gone_from(self, peer: str) -> None:
        """A connection from this address has ended."""
        self.open_from[peer] -= 1
        if self.open_from[peer] <= 0:
            del self.open_from[peer]

    def _forget(self, connection: socket.socket) -> None:
        self._silent.pop(connection).cancel()
        del self._needed[connection]
        self._loop.remove_reader(connection.fileno())

    def _drop(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()


def _listener(
    family: int, kind: int, protocol: int, place: tuple[object, ...], before: list[socket.socket]
) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if before and not place[1]:
            # All addresses have the port that was found for the first.
            place = (place[0], before[0].getsockname()[1], *place[2:])
        listener.bind(place)
        listener.setblocking(False)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
