"""One measurement: a connection, the load on it, and the CPU time that the server took meanwhile."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Session, connect
from benchmarks.servers import SHARE, Server

WORKLOADS = (
    "echo",
    "read4k",
    "write4k",
    "read1m",
    "write1m",
    "openclose",
    "stat",
    "createdelete",
    "missing",
    "list1000",
    "list10000",
    "connect",
)
MODES = ("plain", "signed", "encrypted")

_SOURCE = Path(__file__).with_name("load.c")
_REAP_SECONDS = 5.0


class Case(NamedTuple):
    """What is measured."""

    workload: str
    mode: str
    depth: int


class Sample(NamedTuple):
    """What came out: operations per second, and CPU microseconds of the server for each."""

    rate: float
    cpu: float


class MeasureError(Exception):
    """A measurement that is worth nothing, because something was not answered as it should be."""


def build_generator(folder: Path) -> Path:
    """Compile the load generator into `folder`, unless it is there and current."""
    program = folder / "load"
    if program.exists() and program.stat().st_mtime > _SOURCE.stat().st_mtime:
        return program
    if not shutil.which("cc"):
        raise MeasureError("a C compiler is needed: install gcc and the headers of OpenSSL (libssl-dev)")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["cc", "-O2", "-o", str(program), str(_SOURCE), "-lcrypto"], check=False)
    if done.returncode:
        raise MeasureError("the load generator does not compile: the headers of OpenSSL (libssl-dev) are needed")
    return program


def measure(server: Server, case: Case, seconds: float, generator: Path) -> Sample:
    """Put `case` on `server` for some seconds. Raises `MeasureError`, `ClientError`."""
    if case.workload == "connect":
        return _measure_connect(server, seconds)
    session = connect(server.port, server.account)
    with session.connection:
        command = _command(generator, session, case, seconds)
        with subprocess.Popen(
            command,
            text=True,
            pass_fds=[session.connection.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            return _drive(process, server, case)


def _command(generator: Path, session: Session, case: Case, seconds: float) -> list[str]:
    keys = [key.hex() for key in (session.signing_key, session.sending_key, session.receiving_key)]
    numbers = [f"{session.session_id:x}", str(session.message_id)]
    run = [case.mode, case.workload, str(case.depth), str(seconds)]
    return [str(generator), str(session.connection.fileno()), *run, *numbers, *keys, rf"\\127.0.0.1\{SHARE}"]


def _drive(process: subprocess.Popen[str], server: Server, case: Case) -> Sample:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise MeasureError(f"{server.name}, {' '.join(map(str, case))}: {process.stderr.read().strip()}")
        before = server.cpu_seconds()
        process.stdin.write("go\n")
        process.stdin.flush()
        words = process.stdout.readline().split()
        used = server.cpu_seconds() - before
        if len(words) != 2:
            raise MeasureError(f"{server.name}, {' '.join(map(str, case))}: {process.stderr.read().strip()}")
    finally:
        process.stdin.close()
    operations, elapsed = int(words[0]), float(words[1])
    return Sample(operations / elapsed, used / operations * 1e6)


def _measure_connect(server: Server, seconds: float) -> Sample:
    """TCP connection, NEGOTIATE, SESSION_SETUP with NTLMv2, end of connection, one after the other."""
    resting = server.processes()
    before = server.cpu_seconds()
    start = time.monotonic()
    operations = 0
    while time.monotonic() - start < seconds:
        connect(server.port, server.account).connection.close()
        operations += 1
    elapsed = time.monotonic() - start
    # A server with a process for each connection has used their time only when it has waited for them.
    while server.processes() > resting and time.monotonic() - start < elapsed + _REAP_SECONDS:
        time.sleep(0.01)
    return Sample(operations / elapsed, (server.cpu_seconds() - before) / operations * 1e6)
