"""Real servers that many test processes share: a process of their own keeps them as long as anybody is connected to it.

The keeper listens on an abstract socket of the name that its users agree on, so that there is one of a name whoever
begins, and no file to be left behind. It greets who connects with what they must know of the servers (or why they do
not run), does what they ask, one JSON object a line, and ends when the last connection has: also the kernel ends those
of a killed process. It ends its servers by their process ids, and where the keeper is killed they die with it.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import REPOSITORY

START_SECONDS = 120.0
"""How long servers may take until they answer, on a loaded machine."""

_LONELY_SECONDS = 60.0
"""How long a keeper waits for its first connection."""


class Servers(ABC):
    """What a keeper keeps. `folder` is for all that they write, and deleted when they have ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def start(self) -> dict[str, str]:
        """Start them; returns when they answer, with what users must know."""

    @abstractmethod
    def stop(self) -> None:
        """End all of them, whatever state they are in."""

    @abstractmethod
    def commands(self) -> Mapping[str, Callable[[], None]]:
        """What users may ask for, by name."""


class Daemon:
    """A process that dies with the one that started it. Its output goes to the file `log`."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = ["setpriv", "--pdeathsig", "KILL", *command]
        self._environment = {**os.environ, **(environment or {})}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if not self.running():
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
                )

    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """End it politely, and soon."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self.kill()


def wait_until(answers: Callable[[], bool], what: str, daemons: Sequence[Daemon] = ()) -> None:
    """Return when `answers` does with true; raises RuntimeError where one of the daemons ends, or it takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > deadline or not all(daemon.running() for daemon in daemons):
            raise RuntimeError(f"{what}: it has ended or takes too long")
        time.sleep(0.05)


def keep(name: str, make: Callable[[Path], Servers]) -> None:
    """Be the keeper of that name, until nobody needs its servers; nothing where there is one."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(_address(name))
        except OSError:
            return
        listener.listen(256)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A short name, as sockets have ones beneath it; for every user, as servers may run as others.
        folder = Path(tempfile.mkdtemp(prefix="lamina-kept-"))
        try:
            folder.chmod(0o755)
            servers = make(folder)
            try:
                _serve(listener, servers, _started(servers))
            finally:
                servers.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _address(name: str) -> str:
    return f"\0lamina-tests-{name}"


def _started(servers: Servers) -> dict[str, str]:
    try:
        return servers.start()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        return {"error": f"{error}\n{said.decode(errors='replace')[-1000:]}\n{_ends_of_logs(servers.folder)}"}


def _ends_of_logs(folder: Path) -> str:
    logs = sorted(folder.rglob("*.log"))
    return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs if log.stat().st_size)


def _serve(listener: socket.socket, servers: Servers, greeting: dict[str, str]) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while ready := selector.select(_LONELY_SECONDS if len(selector.get_map()) == 1 else None):
            for key, _ in ready:
                if key.fileobj is listener:
                    user = listener.accept()[0]
                    user.sendall(json.dumps(greeting).encode() + b"\n")
                    selector.register(user, selectors.EVENT_READ)
                else:
                    _attend(selector, key.fileobj, servers)
            if len(selector.get_map()) == 1:
                return


def _attend(selector: selectors.BaseSelector, user: Any, servers: Servers) -> None:
    """Do what a user asks. Requests are short, and a user sends the next one when the last is answered."""
    with contextlib.suppress(OSError):
        request = user.recv(4096)
        if request:
            user.sendall(json.dumps(_done(servers, request.decode().strip())).encode() + b"\n")
            return
    selector.unregister(user)
    user.close()


def _done(servers: Servers, command: str) -> dict[str, str]:
    try:
        servers.commands()[command]()
    except Exception as error:
        return {"error": f"{command}: {error!r}"}
    return {}


class Kept:
    """A connection to a keeper: `facts` is what it said of its servers, which live as long as this does."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("r")
        greeting = self._lines.readline()
        if not greeting:
            raise ConnectionResetError("the keeper is about to end")
        self.facts: dict[str, str] = json.loads(greeting)

    def ask(self, command: str) -> None:
        """Have the keeper do one of its servers' commands; returns when that is done. Raises RuntimeError."""
        self._connection.sendall(command.encode() + b"\n")
        answer = json.loads(self._lines.readline())
        if answer:
            raise RuntimeError(answer["error"])

    def close(self) -> None:
        """Need the servers no longer."""
        self._lines.close()
        self._connection.close()


@contextlib.contextmanager
def kept(name: str, command: Sequence[str]) -> Iterator[Kept]:
    """The servers of that name, for the time of a with block; `command` starts a keeper where there is none.

    Raises RuntimeError with the ends of their logs where they do not start.
    """
    found = _find(name, command)
    try:
        if "error" in found.facts:
            raise RuntimeError(found.facts["error"])
        yield found
    finally:
        found.close()


def _find(name: str, command: Sequence[str]) -> Kept:
    keeper: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + 2 * START_SECONDS
    with tempfile.TemporaryFile() as log:
        while time.monotonic() < deadline:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(_address(name))
                return Kept(connection)
            except ConnectionError:
                connection.close()
            if keeper is None or keeper.poll() is not None:
                if keeper is not None and keeper.returncode:
                    break
                keeper = _start(command, log)
            time.sleep(0.05)
        log.seek(0)
        raise RuntimeError(f"{name}: no keeper: {log.read().decode(errors='replace')[-2000:]}")


def _start(command: Sequence[str], log: Any) -> "subprocess.Popen[bytes]":
    # In a session of its own: what interrupts the tests lets it clean up.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True
    )


def this_run() -> str:
    """A name that all workers of a run of pytest have in common, and no other run."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))


def play(folder: Path, share: str) -> None:
    """Say how Lamina is to serve what runs, and wait until somebody presses Enter: for a person at a terminal.

    `share` is the part of the configuration that says what [share.store] is; `folder` takes the rest.
    """
    configuration = folder / "lamina.toml"
    server = f'[server]\nlisten = ["127.0.0.1:4450"]\naccounts = "{folder}/accounts.db"\nstate = "{folder}/state"\n'
    configuration.write_text(f"{server}\n{share}")
    lines = [
        configuration.read_text(),
        f"# lamina user add alice --accounts {folder}/accounts.db --uid {os.getuid()} --gid {os.getgid()}",
        f"# lamina run -c {configuration}",
        "# smbclient -p 4450 -U alice //127.0.0.1/store",
        "# Enter ends it all.\n",
    ]
    sys.stdout.write("\n".join(lines))
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.readline()
