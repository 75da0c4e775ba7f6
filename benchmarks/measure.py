"""One measurement: connections, the load on them, and the CPU time that the server took meanwhile."""

import contextlib
import multiprocessing
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import ALONE, Case, Sample
from benchmarks.client import Account, Session, connect, log_off, tree_connect
from benchmarks.servers import SHARE, Server

_SOURCE = Path(__file__).with_name("load.c")
_REAP_SECONDS = 5.0
UNC = rf"\\127.0.0.1\{SHARE}"


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
    if case.workload == ALONE:
        return _measure_connect(server, case.connections, seconds)
    with contextlib.ExitStack() as stack:
        sessions = [connect(server.port, server.account) for _ in range(case.connections)]
        for session in sessions:
            stack.enter_context(session.connection)
        process = subprocess.Popen(
            _command(generator, sessions, case, seconds),
            text=True,
            pass_fds=[session.connection.fileno() for session in sessions],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return _drive(stack.enter_context(process), server, case)


def _command(generator: Path, sessions: Sequence[Session], case: Case, seconds: float) -> list[str]:
    run = [case.mode, case.workload, str(case.depth), str(seconds), UNC]
    return [str(generator), *run, *map(_described, sessions)]


def _described(session: Session) -> str:
    keys = [key.hex() for key in (session.signing_key, session.sending_key, session.receiving_key)]
    return ":".join([str(session.connection.fileno()), f"{session.session_id:x}", str(session.message_id), *keys])


def _drive(process: subprocess.Popen[str], server: Server, case: Case) -> Sample:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise MeasureError(f"{server.name}, {case}: {process.stderr.read().strip()}")
        before = server.cpu_seconds()
        process.stdin.write("go\n")
        process.stdin.flush()
        words = process.stdout.readline().split()
        used = server.cpu_seconds() - before
        if len(words) != 3:
            raise MeasureError(f"{server.name}, {case}: {process.stderr.read().strip()}")
    finally:
        process.stdin.close()
    operations, elapsed, own = int(words[0]), float(words[1]), float(words[2])
    return Sample(operations / elapsed, used / operations * 1e6, own / elapsed, operations)


def _measure_connect(server: Server, clients: int, seconds: float) -> Sample:
    """So many clients that connect, log on, connect the share and log off, by turns; several are processes."""
    turns = [(server.port, server.account, seconds)] * clients
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(multiprocessing.get_context("fork").Pool(clients)) if clients > 1 else None
        resting = len(server.processes())
        before = server.cpu_seconds()
        done = pool.starmap(_connect_by_turns, turns, chunksize=1) if pool else [_connect_by_turns(*turns[0])]
        _await_reaping(server, resting)
        used = server.cpu_seconds() - before
    operations, own = sum(one.operations for one in done), sum(one.client for one in done)
    return Sample(sum(one.rate for one in done), used / operations * 1e6, own, operations)


def _connect_by_turns(port: int, account: Account, seconds: float) -> Sample:
    """TCP connection, NEGOTIATE, SESSION_SETUP with NTLMv2, TREE_CONNECT, LOGOFF, end of connection; and again."""
    start, started = time.monotonic(), time.process_time()
    operations, elapsed = 0, 0.0
    while not operations or elapsed < seconds:
        session = connect(port, account)
        with session.connection:
            log_off(tree_connect(session, UNC))
        operations += 1
        elapsed = time.monotonic() - start
    return Sample(operations / elapsed, 0.0, (time.process_time() - started) / elapsed, operations)


def _await_reaping(server: Server, resting: int) -> None:
    """A server with a process for each connection has used their time only when it has waited for them."""
    deadline = time.monotonic() + _REAP_SECONDS
    while len(server.processes()) > resting and time.monotonic() < deadline:
        time.sleep(0.01)
