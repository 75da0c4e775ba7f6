"""A connection to a service beside the server that may be slow: who waits for it is parked, and may be cancelled."""

import asyncio
import errno
import os
import socket
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from lamina.vfs_modules.engine import current_task, offload, wait
from lamina.vfs_modules.token import SERVER_TOKEN

_T = TypeVar("_T")

_PIECE: Final = 4096

Address = str | tuple[str, int]
"""The path of a UNIX socket, or host and port."""


def _connect(address: Address, timeout: float) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_connection(address, timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


class Line:
    """A connection. `connect_timeout` and `io_timeout` are seconds; what takes longer is ETIMEDOUT."""

    def __init__(self, address: Address, connect_timeout: float, io_timeout: float) -> None:
        # Connected on another thread: a path is opened as whoever the thread is just now.
        self._socket = offload(SERVER_TOKEN, _connect, address, connect_timeout)
        self._timeout = io_timeout
        self._parks = current_task() is not None
        self._socket.settimeout(None if self._parks else io_timeout)
        if self._parks:
            self._socket.setblocking(False)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        if self._parks:
            self._await(asyncio.get_running_loop().sock_sendall(self._socket, data))
        else:
            self._socket.sendall(data)

    def receive(self, end: bytes, longest: int) -> bytes:
        """What comes before the byte `end`, or before the other side hangs up. EMSGSIZE where that is too much."""
        got = b""
        while end not in got:
            piece = self._piece()
            if not piece:
                return got
            got += piece
            if len(got) > longest:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return got[: got.index(end)]

    def _piece(self) -> bytes:
        if self._parks:
            return self._await(asyncio.get_running_loop().sock_recv(self._socket, _PIECE))
        return self._socket.recv(_PIECE)

    def _await(self, work: Coroutine[Any, Any, _T]) -> _T:
        return wait(asyncio.wait_for(work, self._timeout))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
