"""`python -m benchmarks.requests`: what ECHO, READ and WRITE cost the server's own code, in the process.

A server is started here, somebody logs on, and its connection is cut off from the socket: batches of requests, signed
or encrypted beforehand, are put where the socket would have put them, and what the server sends goes to /dev/null. Each
number is the median, in microseconds for one request, of many rounds in which the requests take turns. With the folder
of another checkout as argument its server is measured, too, by turns with this one's and in processes of their own; the
third column is then the median of the ratios of neighbours, below 1 if this one is faster. See "Where each microsecond
goes" in docs/performance.md.
"""

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.client import Account, Session, connect

_ACCOUNT: Final = Account("bench", "bench")
_BATCHES: Final = 60
_ROUNDS: Final = 15
_PAIRS: Final = 7
COMMANDS: Final = {"echo": 13, "read4k": 8, "write4k": 9}
MODES: Final = ("plain", "signed", "encrypted")
_DEPTHS: Final = (8, 1)
_SIZE: Final = 4096


class Feeder:
    """Makes requests of one session, and gives them to its connection in the server's own thread."""

    def __init__(self, session: Session, connection: Any, tree_id: int, file_id: bytes) -> None:
        self._session = session
        self._connection = connection
        self._tree_id = tree_id
        self._file_id = file_id
        self._sign = AESGCM(session.signing_key).encrypt
        self._seal = AESGCM(session.sending_key).encrypt
        self._nonce = 1 << 32

    def frame(self, name: str, mode: str, message_id: int) -> bytes:
        """One request with the length before it."""
        flags = 8 if mode == "signed" else 0
        fields = (64, 1, 0, COMMANDS[name], 1, flags, 0, message_id, 0, self._tree_id, self._session.session_id)
        message = pack("<4sHHIHHIIQIIQ16x", b"\xfeSMB", *fields) + self._body(name)
        if mode == "signed":
            message = message[:48] + self._sign(pack("<QI", message_id, 0), b"", message) + message[64:]
        elif mode == "encrypted":
            message = self._sealed(message)
        return pack(">I", len(message)) + message

    def _body(self, name: str) -> bytes:
        if name == "echo":
            return pack("<HH", 4, 0)
        if name == "read4k":
            return pack("<HBBIQ16sIIIHHx", 49, 0x50, 0, _SIZE, 0, self._file_id, 0, 0, 0, 0, 0)
        return pack("<HHIQ16sIIHHI", 49, 112, _SIZE, 0, self._file_id, 0, 0, 0, 0, 0) + bytes(_SIZE)

    def _sealed(self, message: bytes) -> bytes:
        self._nonce += 1
        nonce = pack("<Q4x", self._nonce)
        behind = nonce + pack("<4xIHHQ", len(message), 0, 1, self._session.session_id)
        sealed = self._seal(nonce, message, behind)
        return b"\xfdSMB" + sealed[-16:] + behind + sealed[:-16]

    def time(self, name: str, mode: str, depth: int) -> float:
        """Microseconds of the thread for one request of batches of `depth`."""
        window, transport = self._connection.window, self._connection.transport
        first = window.low
        window.high = first + _BATCHES * depth
        ids = iter(range(first, window.high))
        batches = [b"".join(self.frame(name, mode, next(ids)) for _ in range(depth)) for _ in range(_BATCHES)]
        spent = [_feed(transport, batch) for batch in batches]
        if window.low != first + _BATCHES * depth:
            raise SystemExit(f"{name} {mode} was not answered")
        return statistics.median(spent) / depth / 1000


def _feed(transport: Any, batch: bytes) -> int:
    """Give what arrived together to the transport: nanoseconds, without the copy into its buffer where it fits."""
    clock, at, spent = time.perf_counter_ns, 0, 0
    while at < len(batch):
        start = clock()
        buffer = transport.get_buffer(65536)
        spent += clock() - start
        count = min(len(buffer), len(batch) - at)
        buffer[:count] = batch[at : at + count]
        start = clock()
        transport.buffer_updated(count)
        spent += clock() - start
        at += count
    return spent


class _Nowhere(asyncio.Transport):
    """What is written is gone."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


def measure() -> dict[str, float]:
    """All the requests: what they cost, by name."""
    from lamina.core.server import Server

    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        (Path(folder) / "data").write_bytes(bytes(1 << 20))
        users = {_ACCOUNT.user: _ACCOUNT.password}
        with Server({"bench": folder}, users=users, require_signing=False) as server:
            session = connect(server.port, _ACCOUNT)
            with session.connection, open(os.devnull, "wb") as nowhere:
                tree_id, file_id = _open_file(session)
                core = server.runtime.server
                (connection,) = core.connections
                feeder = Feeder(session, connection, tree_id, file_id)
                loop = core.engine.loop

                async def run() -> dict[str, float]:
                    transport = connection.transport
                    socket_side, socket_fd = transport._transport, transport._fd
                    transport._transport, transport._fd = _Nowhere(), nowhere.fileno()
                    try:
                        return _medians(feeder.time)
                    finally:
                        transport._transport, transport._fd = socket_side, socket_fd

                return asyncio.run_coroutine_threadsafe(run(), loop).result()


def _medians(timed: Callable[[str, str, int], float]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    gc.collect()
    for _ in range(_ROUNDS):
        for name in COMMANDS:
            for mode in MODES:
                for depth in _DEPTHS:
                    found.setdefault(f"{name} {mode} {depth}", []).append(timed(name, mode, depth))
    return {case: statistics.median(times[1:]) for case, times in found.items()}


def _open_file(session: Session) -> tuple[int, bytes]:
    """Connect to the share and open the file: tree id and file id."""
    name = "\\\\127.0.0.1\\bench".encode("utf-16-le")
    reply = _call(session, 3, session.message_id, 0, pack("<HHHH", 9, 0, 72, len(name)) + name)
    tree_id = int.from_bytes(reply[36:40], "little")
    name = "data".encode("utf-16-le")
    body = pack("<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 0x12019F, 0, 7, 1, 0x40, 120, len(name), 0, 0) + name
    reply = _call(session, 5, session.message_id + 1, tree_id, body)
    return tree_id, reply[128:144]


def _call(session: Session, command: int, message_id: int, tree_id: int, body: bytes) -> bytes:
    fields = (64, 1, 0, command, 8, 8, 0, message_id, 0, tree_id, session.session_id)
    message = pack("<4sHHIHHIIQIIQ16x", b"\xfeSMB", *fields) + body
    signature = AESGCM(session.signing_key).encrypt(pack("<QI", message_id, 0), b"", message)
    session.connection.sendall(pack(">I", len(message)) + message[:48] + signature + message[64:])
    reply = session.connection.recv(65536)[4:]
    if reply[8:12] != bytes(4):
        raise SystemExit(f"command {command} was answered {reply[8:12][::-1].hex()}")
    return reply


def _measured_in(root: Path) -> dict[str, float]:
    """The same of the checkout in `root`, in a process of its own; this file measures it, too."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "src"), str(Path(__file__).parents[1])))}
    command = [sys.executable, "-P", "-m", "benchmarks.requests", "--json"]
    done = subprocess.run(command, env=environment, cwd="/", check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    if "--json" in sys.argv:
        print(json.dumps(measure()))
        return
    here = Path(__file__).parents[1]
    roots = [here, *map(Path, sys.argv[1:2])]
    runs = [[_measured_in(root) for root in roots] for _ in range(_PAIRS if len(roots) > 1 else 1)]
    for case in runs[0][0]:
        times = [[run[case] for run in pair] for pair in runs]
        line = "  ".join(f"{statistics.median(column):6.2f}" for column in zip(*times, strict=True))
        ratios = sorted(pair[0] / pair[-1] for pair in times)
        told = f"  {statistics.median(ratios):5.3f} ({ratios[0]:5.3f}-{ratios[-1]:5.3f})" if len(roots) > 1 else ""
        print(f"{case:<20} {line}{told}")


if __name__ == "__main__":
    main()
