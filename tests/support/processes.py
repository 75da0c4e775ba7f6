"""Servers in processes of their own: Lamina, and Samba's smbd as the oracle that a test driver is tried on first.

Each listens on a free port of 127.0.0.1, keeps all it writes under the folder it is given, and is ended by its own
process id. `LAMINA_TEST_SERVER=smbd` runs the client tests against smbd: what fails there is a fault of the test.
"""

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.unexpected import require_none_in

START_SECONDS = 30.0
"""How long a server may take until it accepts connections, on a loaded machine."""

WORKERS = os.environ.get("LAMINA_TEST_WORKERS", "")
"""How many processes Lamina is where a layout says nothing else."""

ONE_PROCESS = {"memory", "fsspec", "count", "faults", "record"}
"""Modules that several workers cannot serve (see docs/workers.md): who tries them has one process all the same."""

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class User:
    """Who may log on. `uid` and `gid` None stand for the user who runs the tests; `groups` are Lamina's."""

    name: str
    password: str
    uid: int | None = None
    gid: int | None = None
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Folder:
    """A share to serve. `hide` are `hide_files`; `settings` are smbd's for this share, Lamina ignores them.

    `chain` are Lamina's modules from the top, each with its options; without, the default chain. `options` are further
    fields of Lamina's `ShareSpec`.
    """

    path: str
    read_only: bool = False
    encrypt: bool = False
    hide: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    chain: Sequence[tuple[str, Mapping[str, Any]]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What a test server serves, as a value that goes to the server's process as JSON.

    `settings` are fields of Lamina's `ServerSettings`, `auth` of its `AuthSettings`, `smbd` global settings of smbd.
    `machine_sid`: of Lamina's users, where they are to be the same at the next start.
    `python_path`: folders in which more modules are installed.
    `state`: the folder for what modules keep from one start to the next; without one it goes with the process.
    `torture`: smbtorture may block channels of Lamina (see `tests.smbtorture.blocked_channels`), as it may of smbd.
    `workers`: how many processes Lamina is.
    """

    shares: Mapping[str, Folder]
    users: Sequence[User]
    settings: Mapping[str, Any] = field(default_factory=dict)
    auth: Mapping[str, Any] = field(default_factory=dict)
    smbd: Mapping[str, str] = field(default_factory=dict)
    torture: bool = False
    machine_sid: str = ""
    python_path: Sequence[str] = ()
    state: str = ""
    workers: int = 1


class ServerProcess:
    """A running server: where it listens, what it serves, and who may log on."""

    host = "127.0.0.1"

    def __init__(self, kind: str, process: subprocess.Popen[str], port: int, layout: Layout, log: Path) -> None:
        self.kind = kind
        self.process = process
        self.port = port
        self.layout = layout
        self.log = log

    @property
    def user(self) -> User:
        """The first user, whom the shares' folders belong to."""
        return self.layout.users[0]

    def folder(self, share: str = "share") -> Path:
        """The folder behind a share."""
        return Path(self.layout.shares[share].path)

    def ask(self, question: str) -> dict[str, Any]:
        """Ask Lamina's process about itself (see `lamina_process`); only Lamina answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the server has ended: {self.log.read_text()[-2000:]}")
        return dict(json.loads(answer))

    def running(self) -> bool:
        """Whether the process still lives."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, no goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it politely, and after ten seconds impolitely. AssertionError if it has met an error that is its own."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        require_none_in(self.log)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def owned_folder(path: Path, user: User) -> Path:
    """Make a folder that belongs to `user` where we may give it away (as root)."""
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0 and user.uid is not None:
        os.chown(path, user.uid, user.gid if user.gid is not None else -1)
    return path


def give_to(folder: Path, user: User) -> None:
    """Give `folder` and all that lies in it to a user, where the tests run as root and made it as root."""
    if os.geteuid() != 0 or user.uid is None:
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user.uid, user.gid if user.gid is not None else -1)


def empty(folder: Path) -> None:
    """Delete all that a folder holds, also what a test has made read-only."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o700)
            shutil.rmtree(entry.path, onerror=_force)
        else:
            os.unlink(entry.path)


def _force(function: Any, path: str, _error: Any) -> None:
    os.chmod(os.path.dirname(path), 0o700)
    os.chmod(path, 0o700, follow_symlinks=os.path.islink(path) is False)
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def server_kind() -> str:
    """Which server the client tests are meant for: "lamina" or "smbd"."""
    return os.environ.get("LAMINA_TEST_SERVER", "lamina")


def two_users(kind: str | None = None) -> tuple[User, User]:
    """Two users with different uids where that is possible. smbd needs ones that the machine has."""
    if os.geteuid() != 0:
        name = pwd.getpwuid(os.geteuid()).pw_name
        return User(name, "Lamina-1234"), User("bob", "Lamina-5678")
    if (kind or server_kind()) == "smbd":
        return _unix_user("backup", "Lamina-1234"), _unix_user("games", "Lamina-5678")
    return User("alice", "Lamina-1234", 12001, 12001), User("bob", "Lamina-5678", 12002, 12002)


def _unix_user(name: str, password: str) -> User:
    entry = pwd.getpwnam(name)
    return User(name, password, entry.pw_uid, entry.pw_gid)


@contextlib.contextmanager
def shared_scratch() -> Iterator[Path]:
    """A temporary folder that every user may walk into, as pytest's own may not be; deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="lamina-test-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextlib.contextmanager
def serving(layout: Layout, state: Path, kind: str | None = None, port: int = 0) -> Iterator[ServerProcess]:
    """Serve `layout` for the time of a with block; `state` is a folder for what the server writes about itself."""
    state.mkdir(parents=True, exist_ok=True)
    start = start_smbd if (kind or server_kind()) == "smbd" else start_lamina
    server = start(layout, state, port)
    try:
        yield server
    finally:
        server.stop()


def compiled_library() -> list[str]:
    """Where `python -m tests.compiled` has put the compiled modules that are to be tried; [] otherwise."""
    library = os.environ.get("LAMINA_TEST_LIBRARY", "")
    return [library] if library else []


def _modules(layout: Layout) -> set[str]:
    return {module for folder in layout.shares.values() for module, _ in folder.chain}


def start_lamina(layout: Layout, state: Path, port: int = 0) -> ServerProcess:
    """Start Lamina in a process of its own; returns when it accepts connections."""
    log = state / "lamina.log"
    if layout.workers == 1 and WORKERS and not ONE_PROCESS & _modules(layout):
        layout = replace(layout, workers=int(WORKERS))
    port = port or free_port()
    python_path = os.pathsep.join([*compiled_library(), str(REPOSITORY), *layout.python_path])
    environment = {**os.environ, "PYTHONPATH": python_path, "PYTHONUNBUFFERED": "1"}
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.lamina_process", json.dumps(asdict(layout)), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
            cwd=state,
            start_new_session=True,
        )
    server = ServerProcess("lamina", process, port, layout, log)
    assert process.stdout is not None
    ready = process.stdout.readline()
    if not ready:
        process.wait()
        raise RuntimeError(f"Lamina did not start:\n{log.read_text()[-4000:]}")
    server.port = int(json.loads(ready)["port"])
    return server


def start_smbd(layout: Layout, state: Path, port: int = 0) -> ServerProcess:
    """Start Samba's smbd with a configuration of its own; returns when it accepts connections. Needs root."""
    port = port or free_port()
    configuration = state / "smb.conf"
    for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "wb"):
        (state / name).mkdir(exist_ok=True)
    configuration.write_text(_smb_conf(layout, state, port))
    for user in layout.users:
        subprocess.run(
            ["smbpasswd", "-c", str(configuration), "-s", "-a", user.name],
            input=f"{user.password}\n{user.password}\n",
            text=True,
            check=True,
            capture_output=True,
        )
    log = state / "smbd.out"
    with log.open("a") as output:
        process = subprocess.Popen(
            ["smbd", "-F", "--no-process-group", "-s", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    wait_for_port(port, process)
    return ServerProcess("smbd", process, port, layout, log)


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Return when `port` takes connections; raises where the process ends or `START_SECONDS` pass."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no server on port {port}")


def _smb_conf(layout: Layout, state: Path, port: int) -> str:
    options = {**_SMBD, "smb ports": str(port), "log file": str(state / "log.%m"), **layout.smbd}
    for option, place in _SMBD_FOLDERS.items():
        options[option] = str(state / place)
    sections = {"global": options}
    for name, folder in layout.shares.items():
        share = {"path": folder.path, "read only": "yes" if folder.read_only else "no", **folder.settings}
        if folder.encrypt:
            share["server smb encrypt"] = "required"
        sections[name] = share
    return "\n".join(_section(name, values) for name, values in sections.items())


def _section(name: str, options: Mapping[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"\t{option} = {value}" for option, value in options.items())])


_SMBD_FOLDERS = {
    "private dir": "private",
    "lock directory": "lock",
    "state directory": "state",
    "cache directory": "cache",
    "pid directory": "pid",
    "ncalrpc dir": "ncalrpc",
    "winbindd socket directory": "wb",
}
# Windows semantics rather than sharing with local processes, on this machine's loopback only.
_SMBD = {
    "netbios name": "REFERENCE",
    "server role": "standalone server",
    "interfaces": '"127.0.0.1;capability=RSS,speed=10000000000"',
    "bind interfaces only": "yes",
    "disable netbios": "yes",
    "passdb backend": "tdbsam",
    "log level": "0",
    "load printers": "no",
    "printcap name": "/dev/null",
    "disable spoolss": "yes",
    "server min protocol": "SMB2_02",
    "server multi channel support": "yes",
    "smbd:FSCTL_SMBTORTURE": "yes",
    "smbd:sharedelay": "100000",
    "smbd:writetimeupdatedelay": "500000",
    "kernel share modes": "no",
    "posix locking": "no",
    "strict locking": "yes",
    "strict rename": "yes",
    "unix extensions": "no",
    "vfs objects": "acl_xattr streams_xattr xattr_tdb",
    "ea support": "yes",
    "store dos attributes": "yes",
    "map archive": "no",
    "acl_xattr:ignore system acls": "yes",
    "acl_xattr:default acl style": "windows",
    "inherit acls": "yes",
    "dos filemode": "yes",
    "create mask": "0755",
    "check parent directory delete on close": "yes",
}
