"""A server and its clients in one thread, on one loop, without sockets, threads or disks.

All mail is numbered, so that clients can read it in the order in which it was sent, whoever it is for.
What a client sends is done before `send` returns, as far as it can be done without waiting for somebody. A client
that must wait for an answer itself is run by the engine, as a request is.
"""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from lamina.core.auth.settings import AuthSettings
from lamina.core.buffers import BufferPool
from lamina.core.events import ServerEvents
from lamina.core.plan import ServerPlan, ShareSpec
from lamina.core.runtime import Runtime
from lamina.core.server import make_accounts
from lamina.core.server_core import SmbServer
from lamina.core.settings import Limits, ServerSettings
from lamina.core.transport import TcpTransport
from lamina.ntfsa.volume import NtVolume
from lamina.vfs_modules.engine import Engine, breathe, current_task
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.token import SERVER_TOKEN
from tests.caching.virtual_time import VirtualLoop
from tests.support.wire_client import WireClient

USER, PASSWORD = "ada", "engine"
_SENT = itertools.count()
SHARE: Final = "data"


class NothingCameError(Exception):
    """The client waits for something that has not come."""


class Mail(NamedTuple):
    """What a server has sent at once, and when."""

    number: int
    time: float
    data: bytes


class MemoryTransport(TcpTransport):
    """The server's end of a connection. What it sends is put into `outbox`."""

    def __init__(self, pool: BufferPool, loop: VirtualLoop) -> None:
        super().__init__(pool)
        self.peer = ("client", 1)
        self.local = ("server", 445)
        self.outbox: deque[Mail] = deque()
        self.open = True
        self._loop = loop

    def send(self, chunks: Sequence[bytes | bytearray | memoryview]) -> bool:
        """Hand the bytes over."""
        if self.open:
            mail = b"".join(chunks)
            self.bytes_sent += len(mail)
            self.outbox.append(Mail(next(_SENT), self._loop.time(), mail))
        return True

    def bytes_acknowledged(self) -> int:
        """Everything: clients here are slow to answer, their TCP never is to acknowledge."""
        return self.bytes_sent

    def unsent(self) -> int:
        """Nothing: it is all handed over."""
        return 0

    def close(self) -> None:
        """The server closes."""
        self.abort()

    def abort(self) -> None:
        """The server closes at once; the connection learns of it when the loop is free, as with a socket."""
        self._ended = True
        self.hang_up()

    def hang_up(self) -> None:
        """One of the two is gone."""
        if self.open:
            self.open = False
            self._loop.call_soon(self.connection_lost, None)

    def take(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes from the client."""
        rest = memoryview(bytes(data))
        while rest and self.open:
            room = self.get_buffer(-1)
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            self.buffer_updated(count)


class _MemorySocket:
    """What a WireClient does with its socket."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self._rest = b""
        self.last = Mail(0, 0.0, b"")

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        self.transport.take(data)

    def next_mail(self) -> float:
        if self._rest:
            return self.last.number
        return self.transport.outbox[0].number if self.transport.outbox else inf

    def recv_into(self, view: memoryview) -> int:
        if not self._rest:
            while not self.transport.outbox:
                if current_task() is None:
                    raise NothingCameError
                breathe()
            self.last = self.transport.outbox.popleft()
            self._rest = self.last.data
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self.transport.hang_up()


class MemoryClient(WireClient):
    """A WireClient of a MemoryServer."""

    def __init__(self, server: "MemoryServer", client_guid: bytes) -> None:
        self._server = server
        super().__init__("server", 0, client_guid=client_guid)

    def _connect(self, port: int, timeout: float) -> Any:
        return _MemorySocket(self._server.connect())

    def next_mail(self) -> float:
        """When what has come was sent: a number that grows, and is infinite where nothing has come."""
        socket: Any = self.socket
        return float(socket.next_mail())

    @property
    def mail_time(self) -> float:
        """When the message that was read last was sent."""
        socket: Any = self.socket
        return float(socket.last.time)

    async def log_on(self) -> Self:
        """Have a session and the share."""
        await self._server.engine.run(self._log_on)
        return self

    def _log_on(self) -> None:
        self.negotiate()
        self.session_setup(USER, PASSWORD)
        self.tree_connect(SHARE)
        assert self.session is not None
        # Nothing here is about signing, and it takes half of the time.
        self.session.sign = False


class _NoThreads:
    """Does at once what a worker thread would do in its time: so every run is the same."""

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args))
        except BaseException as error:
            done.set_exception(error)
        return done

    def shutdown(self, **options: bool) -> None:
        """There is nothing to end."""


class MemoryServer:
    """A server with the share "data", in memory."""

    def __init__(self, loop: VirtualLoop, engine: Engine, runtime: Runtime) -> None:
        self.loop = loop
        self.engine = engine
        self.runtime = runtime

    @classmethod
    async def start(cls, loop: VirtualLoop) -> Self:
        """A server on this loop; `close` ends it."""
        engine = Engine(loop, threads=1)
        engine._pool = _NoThreads()  # type: ignore[assignment]
        spec = ShareSpec(Path("/nowhere"), chain=(DosAttributesModule(), MemoryBackend()))
        settings = ServerSettings(require_signing=False, limits=Limits(connections_per_address=1000))
        plan = ServerPlan(settings, {SHARE: spec}, ())
        accounts = make_accounts({USER: PASSWORD}, (1000, 1000))
        server = cls(loop, engine, await Runtime.start(engine, plan, accounts, AuthSettings(), ServerEvents()))
        # Random in truth; here the same run is to have the same ids.
        server.core._next_file_id = 1
        volume = server.volume
        await engine.run(volume.chain.fchmod, SERVER_TOKEN, volume.root, 0o777)
        return server

    @property
    def core(self) -> SmbServer:
        return self.runtime.server

    @property
    def volume(self) -> NtVolume:
        volume = self.runtime.shares()[SHARE].volume
        assert volume is not None
        return volume

    def connect(self) -> MemoryTransport:
        """The server's end of a new connection."""
        transport = MemoryTransport(self.core.buffers, self.loop)
        self.core.accepted(transport)
        return transport

    async def close(self) -> None:
        """End it."""
        await self.runtime.close()
        self.engine.close()
