"""The servers that are measured, each a process of its own over its own folder, and the CPU time that they take."""

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.client import Account

SHARE = "bench"
DATA_FILE_SIZE = 16 << 20
_FULL_FOLDERS = {"list1000": ("list", 1000), "list10000": ("long", 10_000), "missing": ("crowd", 100_000)}
_DATA_BLOCK = 1 << 20
_CORES = sorted(os.sched_getaffinity(0))
_TICKS = os.sysconf("SC_CLK_TCK")
_SCHEDULER_CLOCK = 2
_START_SECONDS = 20.0

_SMB_CONF = """
[global]
    server role = standalone server
    bind interfaces only = yes
    interfaces = 127.0.0.1/8
    smb ports = {port}
    disable netbios = yes
    disable spoolss = yes
    load printers = no
    private dir = {state}/private
    lock directory = {state}/lock
    state directory = {state}/state
    cache directory = {state}/cache
    pid directory = {state}/pid
    ncalrpc dir = {state}/ncalrpc
    passdb backend = tdbsam:{state}/private/passdb.tdb
    log file = {state}/log
    server min protocol = SMB3_11
    server signing = auto
    server smb encrypt = auto
    server smb3 signing algorithms = AES-128-GMAC
    server smb3 encryption algorithms = AES-128-GCM
{tuning}
[{share}]
    path = {folder}
    read only = no
"""
_LAMINA_TOML = """
[server]
listen = ["127.0.0.1:0"]
signing = "desired"
encryption = "offered"
accounts = "{state}/accounts.db"
state = "{state}/state"
workers = {workers}
log_level = "warning"

[share.{share}]
path = "{folder}"
{chain}
"""
_TUNINGS = {
    "": "",
    "sync": "    aio read size = 0\n    aio write size = 0\n    use sendfile = yes\n",
    "full": "    vfs objects = acl_xattr streams_xattr\n    ea support = yes\n    store dos attributes = yes\n",
}


class Server(NamedTuple):
    """A running server."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    account: Account

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far, those that have ended and been waited for included."""
        return sum(map(_cpu_seconds, self.processes()))

    def split_seconds(self) -> tuple[float, float]:
        """The same in two, user and system, by the kernel's estimate and in ticks."""
        fields = [_stat_fields(pid) for pid in self.processes()]
        user = sum(int(found[11]) + int(found[13]) for found in fields if found)
        return user / _TICKS, sum(int(found[12]) + int(found[14]) for found in fields if found) / _TICKS

    def processes(self) -> list[int]:
        """The processes that it has now."""
        return _tree(self.process.pid)

    def stop(self) -> None:
        """End the process and its children, which are a process group of their own."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class ServerError(Exception):
    """A server could not be started."""


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on, [] if there is no such process (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cpu_seconds(pid: int) -> float:
    """What a process has used so far, by the scheduler's count, and the children that it has waited for, in ticks."""
    fields = _stat_fields(pid)
    try:
        # clock_getcpuclockid(3): the clock of another process has a number that is made of the process' own.
        own = time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK) if fields else 0.0
    except OSError:
        return 0.0
    return own + sum(map(int, fields[13:15])) / _TICKS


def _tree(root: int) -> list[int]:
    """`root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _stat_fields(int(entry.name)) if entry.name.isdecimal() else []
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def make_folder(folder: Path, workloads: Collection[str] = ()) -> None:
    """Fill a folder with what the workloads expect, owned by whom the servers act as."""
    (folder / "made").mkdir(parents=True)
    (folder / "small").write_bytes(b"small")
    (folder / "data").write_bytes(os.urandom(_DATA_BLOCK) * (DATA_FILE_SIZE // _DATA_BLOCK))
    for workload in _FULL_FOLDERS.keys() & set(workloads):
        name, entries = _FULL_FOLDERS[workload]
        (folder / name).mkdir()
        for number in range(entries):
            (folder / name / f"file{number:04}.txt").touch()
    make_owned(folder)


def make_owned(folder: Path) -> None:
    """Give a folder and all in it to whom the servers act as."""
    if os.geteuid() == 0:
        owner = _unprivileged()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _unprivileged() -> pwd.struct_passwd:
    """A Unix account that is not root: smbd needs one that exists, and both shall pay for impersonation."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("backup", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError("neither the Unix account backup nor nobody exists")


def _start(command: list[str], cores: int, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process group on the first cores, which the generator leaves to servers where there are several."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _CORES[:cores])
    try:
        return subprocess.Popen(command, start_new_session=True, **options)
    finally:
        os.sched_setaffinity(0, before)


def start_lamina(
    folder: Path,
    chain: str = "",
    state: Path | None = None,
    workers: int = 1,
    cores: int = 1,
    samples: Path | None = None,
) -> Server:
    """Serve `folder` with Lamina: through the embedding API, or `lamina run` with several workers.

    That takes a folder for its `state`. `samples` is the file of a `Sampler`. Raises `ServerError`.
    """
    account = Account("bench", secrets.token_hex(8))
    if workers > 1:
        assert state is not None
        process, port = _start_workers(folder, chain, state, workers, cores, account)
        return Server("lamina", process, port, account)
    command = [sys.executable, "-m", "benchmarks.serve_lamina", str(folder), *account, chain, str(samples or "")]
    process = _start(command, cores, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    line = _first_line(process)
    if not line.isdecimal():
        raise _not_started(process)
    return Server("lamina", process, int(line), account)


def _start_workers(
    folder: Path, chain: str, state: Path, workers: int, cores: int, account: Account
) -> tuple[subprocess.Popen[bytes], int]:
    state.mkdir()
    configuration = state / "lamina.toml"
    modules = f"chain = {json.dumps(chain.split(','))}" if chain else ""
    configuration.write_text(
        _LAMINA_TOML.format(state=state, workers=workers, share=SHARE, folder=folder, chain=modules)
    )
    owner = folder.stat()
    lamina = [sys.executable, "-m", "lamina.core.cli"]
    add = ["user", "add", account.user, "--password-stdin", "--accounts", f"{state}/accounts.db"]
    ids = ["--uid", str(owner.st_uid), "--gid", str(owner.st_gid)]
    subprocess.run([*lamina, *add, *ids], input=f"{account.password}\n".encode(), check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "LAMINA_RUNTIME_DIR": f"{state}/run"}
    command = [*lamina, "run", "-c", str(configuration), "--json"]
    process = _start(command, cores, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment)
    while line := _first_line(process):
        event = json.loads(line)
        if event["event"] == "listening":
            return process, int(event["listeners"][0]["port"])
    raise _not_started(process)


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def _not_started(process: subprocess.Popen[bytes]) -> ServerError:
    process.kill()
    return ServerError(f"lamina did not start (exit status {process.wait()})")


def start_smbd(folder: Path, state: Path, kind: str = "", cores: int = 1) -> Server:
    """Serve `folder` with smbd, with a configuration and a state folder of its own. Raises `ServerError`.

    `kind`: "" for its defaults, "sync" to read and write without threads, "full" with the modules that Windows needs.
    """
    for name in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
        (state / name).mkdir(parents=True)
    port = _free_port()
    configuration = state / "smb.conf"
    tuning = _TUNINGS[kind]
    configuration.write_text(_SMB_CONF.format(port=port, state=state, share=SHARE, folder=folder, tuning=tuning))
    account = Account(_unprivileged().pw_name, secrets.token_hex(8))
    _add_user(configuration, account)
    command = [_smbd(), "-F", "--no-process-group", "-s", str(configuration)]
    with (state / "output").open("wb") as output:
        process = _start(command, cores, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    _wait_for(port, process, state)
    return Server(f"smbd-{kind}" if kind else "smbd", process, port, account)


def smbd_is_installed() -> bool:
    """Whether there is an smbd to compare with, and the tool to give it a user."""
    return bool(_smbd()) and bool(shutil.which("smbpasswd"))


def _smbd() -> str:
    return shutil.which("smbd") or shutil.which("smbd", path="/usr/sbin:/usr/local/sbin:/usr/local/samba/sbin") or ""


def _add_user(configuration: Path, account: Account) -> None:
    twice = f"{account.password}\n{account.password}\n"
    command = ["smbpasswd", "-c", str(configuration), "-s", "-a", account.user]
    done = subprocess.run(command, input=twice, text=True, capture_output=True, check=False)
    if done.returncode:
        raise ServerError(f"smbpasswd: {done.stderr or done.stdout}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], state: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    raise ServerError(f"smbd did not start: {(state / 'output').read_text()}")
