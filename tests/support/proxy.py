"""A bad network between a client and a server: a proxy on loopback that cuts, delays, drops and stalls connections.

It knows the frames of the transport (MS-SMB2 2.1), so what happens, happens to whole messages and just when a test
says: a `rule` is asked for each frame what becomes of it. Frames of one connection never overtake each other, as TCP
has it; those of several do, where one of them is delayed.

    with Proxy(port) as proxy:
        client = WireClient("127.0.0.1", proxy.port)
        proxy.links[0].cut()                     # both ends see a reset
        proxy.rule = lambda link, way, frame: Fate.CUT_AFTER if way is Way.REPLY else Fate.PASS
        proxy.aim(other_port)                    # where the server listens after a restart
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Any, Final, Self

_LENGTH: Final = struct.Struct(">I")
_LINGER_RESET: Final = struct.pack("ii", 1, 0)
_WAIT: Final = 20.0


class Way(Enum):
    """Where a frame is going."""

    REQUEST = auto()
    REPLY = auto()


class Fate(Enum):
    """What becomes of a frame, and of its connection. A rule may also return seconds to hold the frame back.

    DROP loses the frame and nothing else. CUT resets the connection instead of passing the frame on, CUT_AFTER once
    the frame is passed on, TEAR in the middle of it. STALL lets nothing more through, in either direction, and
    neither end is told.
    """

    PASS = auto()
    DROP = auto()
    CUT = auto()
    CUT_AFTER = auto()
    TEAR = auto()
    STALL = auto()


Rule = Callable[["Link", Way, bytes], Fate | float]


def pass_all(link: "Link", way: Way, frame: bytes) -> Fate | float:
    """The rule of a good network."""
    return Fate.PASS


@dataclass
class Chaos:
    """A rule that makes things go wrong by chance, the same way for the same `seed` and the same traffic.

    Of each frame: the probability that the connection is cut (before, in the middle of or behind it), that it stalls,
    and that it is held back, by up to `longest` seconds. Frames are not dropped: TCP does not do that.
    """

    seed: int = 0
    cut: float = 0.0
    stall: float = 0.0
    delay: float = 0.0
    longest: float = 0.05
    quiet: int = 8
    """So many frames of each connection pass unharmed, for a client must be able to log on."""
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def __call__(self, link: "Link", way: Way, frame: bytes) -> Fate | float:
        """What becomes of a frame."""
        if link.frames <= self.quiet:
            return Fate.PASS
        if self.chance.random() < self.cut:
            return self.chance.choice((Fate.CUT, Fate.CUT_AFTER, Fate.TEAR))
        if self.chance.random() < self.stall:
            return Fate.STALL
        return self.chance.random() * self.longest if self.chance.random() < self.delay else Fate.PASS


class Link:
    """One client's connection through the proxy. The methods may be called from any thread."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.frames = 0
        """Frames that have come from either side."""
        self.closed = threading.Event()
        """Set once the connection is gone on both sides."""
        self._loop = loop
        self._writers: list[asyncio.StreamWriter] = []
        self._open = asyncio.Event()
        self._open.set()
        self._latency = 0.0

    def cut(self) -> None:
        """Reset the connection, for both ends; what is on its way is lost. Returns when that is done."""
        _call(self._loop, self._cut())
        self.closed.wait(_WAIT)

    def stall(self) -> None:
        """Let nothing through any more, until `resume`; neither end is told."""
        _call(self._loop, self._stall())

    def resume(self) -> None:
        """Let through what was held back by a stall, and what comes."""
        _call(self._loop, self._resume())

    def delay(self, seconds: float) -> None:
        """Hold each frame back for so long from now on."""
        self._latency = seconds

    async def _cut(self) -> None:
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            writer.transport.abort()
        self._open.set()

    async def _stall(self) -> None:
        self._open.clear()

    async def _resume(self) -> None:
        self._open.set()

    async def run(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, *relays: Any) -> None:
        """Relay until one side ends, then end the other."""
        self._writers = [client, server]
        tasks = [asyncio.ensure_future(relay) for relay in relays]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for writer in self._writers:
                writer.close()
            self.closed.set()

    async def relay(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: "Proxy") -> None:
        """Pass frames on, as the proxy's rule has it."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, OSError):
            while True:
                length = await reader.readexactly(_LENGTH.size)
                frame = length + await reader.readexactly(_LENGTH.unpack(length)[0])
                self.frames += 1
                if not await self._pass(proxy.rule(self, way, frame[_LENGTH.size :]), frame, writer):
                    return

    async def _pass(self, fate: Fate | float, frame: bytes, writer: asyncio.StreamWriter) -> bool:
        """Let a frame meet its fate; False where the connection has ended with it."""
        seconds = self._latency + (fate if not isinstance(fate, Fate) else 0.0)
        if seconds:
            await asyncio.sleep(seconds)
        if fate is Fate.STALL:
            self._open.clear()
        await self._open.wait()
        if fate is Fate.TEAR:
            writer.write(frame[: len(frame) // 2])
        elif fate not in (Fate.DROP, Fate.CUT):
            writer.write(frame)
        if fate in (Fate.CUT, Fate.CUT_AFTER, Fate.TEAR):
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            # What was written goes to the kernel at once; a reset right behind it would overtake it.
            await asyncio.sleep(0.01)
            await self._cut()
            return False
        await writer.drain()
        return True


class Proxy:
    """Listens on a port of loopback (`port`) and relays to another one, until the end of the `with` block."""

    def __init__(self, target: int, host: str = "127.0.0.1", rule: Rule = pass_all) -> None:
        self.host = host
        self.rule = rule
        """Asked for each frame; may be replaced at any time."""
        self.refusing = False
        """Whether new connections are reset at once."""
        self.links: list[Link] = []
        """Every connection there was, in the order in which they were made."""
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def aim(self, target: int) -> None:
        """Relay new connections to another port."""
        self._target = target

    def cut_all(self) -> None:
        """Reset every connection there is."""
        for link in self.links:
            link.cut()

    @property
    def open_links(self) -> list[Link]:
        """The connections that both ends still have."""
        return [link for link in self.links if not link.closed.is_set()]

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = _call(self._loop, asyncio.start_server(self._accept, self.host, 0, limit=1 << 20))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _call(self._loop, self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for link in self.links:
            await link._cut()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(others, timeout=_WAIT) if others else None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(len(self.links), self._loop)
        self.links.append(link)
        link._writers = [writer]
        try:
            if self.refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(self.host, self._target, limit=1 << 20)
        except OSError:
            await link._cut()
            link.closed.set()
            return
        for each in (writer, far_writer):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await link.run(
            writer,
            far_writer,
            link.relay(Way.REQUEST, reader, far_writer, self),
            link.relay(Way.REPLY, far_reader, writer, self),
        )


def _call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result(_WAIT)
