"""ClamAV's clamd with signatures of the tests' own, and a stand-in that answers as a test says."""

import contextlib
import hashlib
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CLAMD = shutil.which("clamd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
WHY_NOT = "clamd is not installed: apt install --no-install-recommends clamav-daemon"

PATTERN = b"a pattern that is harmless, and that the tests take for a virus"
"""What clamd finds wherever it stands in a file."""

# Put together here, so that nobody's scanner takes this file for one.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!" + b"$H+H*"

STREAM_LIMIT = 4 << 20
"""Bytes after which this clamd wants no more."""

_CONFIGURATION = """LocalSocket {folder}/socket
DatabaseDirectory {folder}/signatures
PidFile {folder}/pid
TemporaryDirectory {folder}
Foreground yes
StreamMaxLength {limit}
"""


@contextlib.contextmanager
def clamd(folder: Path) -> Iterator[str]:
    """A running clamd; the path of its socket."""
    assert CLAMD is not None, WHY_NOT
    (folder / "signatures").mkdir(parents=True)
    _write_signatures(folder / "signatures")
    configuration = folder / "clamd.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, limit=STREAM_LIMIT))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([CLAMD, "-c", configuration], stdout=log, stderr=log)
    try:
        _wait_for(folder / "socket", process)
        yield str(folder / "socket")
    finally:
        process.terminate()
        process.wait(20)


def _write_signatures(folder: Path) -> None:
    (folder / "test.hdb").write_text(f"{hashlib.md5(EICAR).hexdigest()}:{len(EICAR)}:Eicar-Test-Signature\n")
    (folder / "test.ndb").write_text(f"Lamina.Test:0:*:{PATTERN.hex()}\n")


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(0.02)
    raise RuntimeError(f"clamd does not start: {(path.parent / 'log').read_text()[-2000:]}")


class FakeClamd:
    """A clamd that knows `PATTERN`, and otherwise answers a scan as `answer` says: bytes, or None to hang up at once.

    While `gate` is closed no scan is answered. `scans`: the bytes of each; `version`: what it says that it is.
    """

    def __init__(self, folder: Path | None) -> None:
        """Without a folder it listens on TCP."""
        self.answer: Callable[[bytes], bytes | None] = self._by_pattern
        self.scans: list[bytes] = []
        self.version = b"ClamAV 1.0/1"
        self.gate = threading.Event()
        self.gate.set()
        self.most = self._now = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0)) if folder is None else socket.socket(socket.AF_UNIX)
        if folder is not None:
            self._listener.bind(str(folder / "socket"))
            self._listener.listen(64)
        name = self._listener.getsockname()
        self.path = name if isinstance(name, str) else f"{name[0]}:{name[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    @staticmethod
    def _by_pattern(data: bytes) -> bytes:
        return b"stream: Fake.Test FOUND\0" if PATTERN in data else b"stream: OK\0"

    def close(self) -> None:
        self.gate.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> "FakeClamd":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as lines:
            command = b""
            while not command.endswith(b"\0"):
                command += lines.read(1) or b"\0"
            if command == b"zPING\0":
                connection.sendall(b"PONG\0")
            elif command == b"zVERSION\0":
                connection.sendall(self.version + b"\0")
            elif command == b"zINSTREAM\0":
                self._scan(connection, lines.read)

    def _scan(self, connection: socket.socket, read: Callable[[int], bytes]) -> None:
        data = b""
        while length := struct.unpack(">I", read(4))[0]:
            data += read(length)
        with self._lock:
            self.scans.append(data)
            self._now += 1
            self.most = max(self.most, self._now)
        self.gate.wait(30)
        with self._lock:
            self._now -= 1
        answer = self.answer(data)
        if answer is not None:
            connection.sendall(answer)
