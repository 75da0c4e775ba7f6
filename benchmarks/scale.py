"""`python -m benchmarks.scale`: what the same operation costs when there is much of everything.

A server in a process of its own, a client beside it. For each size on a curve: processor microseconds of the server for
one operation, by the scheduler's own count, and the memory that one more of them takes. Sizes go up tenfold: what grows
with them shows at once. `--curves`, `--most` choose less.
"""

import argparse
import contextlib
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.servers import make_owned
from lamina.core.plan import DEFAULT_CHAIN
from lamina.core.server import Server
from lamina.core.settings import Limits
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.query_directory import QueryDirectoryRequest, encode_query_directory_request
from lamina.ntfsa import constants as c
from lamina.ntfsa.status import NtStatus
from tests.support.wire_client import WireClient

USER, PASSWORD = "bench", "Scale-1234"
CURVES = ("entries", "handles", "locks", "connections")
MOST = {"entries": 1_000_000, "handles": 100_000, "locks": 100_000, "connections": 10_000}
_ROUNDS, _OPERATIONS = 5, 60
_FILES = 400_000
_SPARE_DESCRIPTORS = 1000
_FILES_TOGETHER = 100
_LOCKS_AT_ONCE = 64
_WRITE = c.FILE_READ_DATA | c.FILE_WRITE_DATA
_EXCLUSIVE_AT_ONCE = 0x12
_UNLOCK = 0x4
_ID_BOTH = 37
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Measured:
    """The server's process: what it has used so far, and what it holds."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port

    def cpu(self) -> float:
        """Microseconds of processor time of all its threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1000

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE

    def cost(self, operation: Callable[[], object], times: int = _OPERATIONS) -> float:
        """Microseconds of one operation: the median of some rounds."""
        operation()
        rounds = []
        for _ in range(_ROUNDS):
            before = self.cpu()
            for _ in range(times):
                operation()
            rounds.append((self.cpu() - before) / times)
        return statistics.median(rounds)

    @contextlib.contextmanager
    def client(self) -> Iterator[WireClient]:
        """A client that has logged on and connected the share."""
        with WireClient("127.0.0.1", self.port, timeout=120) as client:
            _log_on(client)
            yield client


def _log_on(client: WireClient) -> None:
    client.negotiate()
    client.session_setup(USER, PASSWORD)
    client.tree_connect("scale")


def serve(folder: str, chain: Sequence[str]) -> None:
    """The server process: until its input ends."""
    _raise_files()
    limits = Limits(connections=20_000, connections_per_address=20_000, opens_per_session=200_000)
    users = {USER: PASSWORD}
    with Server({"scale": folder}, users=users, chain=chain, require_signing=False, limits=limits) as server:
        print(server.port, flush=True)
        sys.stdin.read()


def _raise_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, max(hard, _FILES)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@contextlib.contextmanager
def serving(folder: Path, chain: Sequence[str] = DEFAULT_CHAIN) -> Iterator[Measured]:
    """A server over a folder, its own process; ended at the end."""
    command = [sys.executable, "-m", "benchmarks.scale", "--serve", str(folder), "--chain", ",".join(chain)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield Measured(process, int(process.stdout.readline()))
    finally:
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.send_signal(signal.SIGKILL)
        process.wait()


def _heading(what: str, *columns: str) -> None:
    print(f"\n{what:>12}" + "".join(f"{column:>18}" for column in columns), flush=True)


def _row(size: int, *values: float) -> None:
    print(f"{size:>12,}" + "".join(f"{value:>18,.2f}" for value in values), flush=True)


def _sizes(first: int, most: int) -> list[int]:
    sizes = [first]
    while sizes[-1] * 10 <= most:
        sizes.append(sizes[-1] * 10)
    return sizes


def _open_close(client: WireClient, name: str, **asked: int) -> Callable[[], object]:
    return lambda: client.close(client.create(name, **asked))


def _fill(folder: Path, number: int) -> None:
    folder.mkdir()
    directory = os.open(folder, os.O_RDONLY)
    for index in range(number):
        os.close(os.open(f"file{index:07}.txt", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=directory))
    os.close(directory)


def entries(folder: Path, most: int) -> None:
    """A directory of so many files: opening one, by another case, missing one, making and deleting one, listing."""
    columns = ("index µs/entry", "index B/entry", "open+close µs", "other case µs", "missing µs", "make+delete µs")
    _heading("entries", *columns, "list µs/entry")
    for size in _sizes(100, most):
        name = f"d{size}"
        _fill(folder / name, size)
        make_owned(folder)
        with serving(folder) as server, server.client() as client:
            _open_close(client, f"{name}\\file0000001.txt", access=c.FILE_READ_DATA)()
            before, held = server.cpu(), server.memory()
            _miss(client, f"{name}\\first")()
            index, memory = (server.cpu() - before) / size, (server.memory() - held) / size
            middle = f"file{size // 2:07}.txt"
            _row(
                size,
                index,
                memory,
                server.cost(_open_close(client, f"{name}\\{middle}", access=c.FILE_READ_DATA)),
                server.cost(_open_close(client, f"{name}\\{middle.upper()}", access=c.FILE_READ_DATA)),
                server.cost(_miss(client, f"{name}\\missing")),
                server.cost(_make_delete(client, f"{name}\\new")),
                _list(server, client, name) / size,
            )


def _miss(client: WireClient, name: str) -> Callable[[], object]:
    body = encode_create_request(CreateRequest(name, c.FILE_READ_DATA, 0, c.FILE_SHARE_ALL, c.FILE_OPEN))

    def miss() -> None:
        if client.transact(Command.CREATE, body).status != NtStatus.OBJECT_NAME_NOT_FOUND:
            raise RuntimeError(f"{name} is there")

    return miss


def _make_delete(client: WireClient, name: str) -> Callable[[], object]:
    return _open_close(
        client,
        name,
        access=c.DELETE | c.FILE_WRITE_DATA,
        disposition=c.FILE_CREATE,
        options=c.FILE_DELETE_ON_CLOSE,
    )


def _list(server: Measured, client: WireClient, name: str) -> float:
    """Microseconds of one whole listing."""
    directory = client.create(name, access=c.FILE_READ_DATA, options=c.FILE_DIRECTORY_FILE)
    body = encode_query_directory_request(QueryDirectoryRequest(*directory.file_id, _ID_BOTH, "*", 65536))
    before, status = server.cpu(), NtStatus.SUCCESS
    while status == NtStatus.SUCCESS:
        status = NtStatus(client.transact(Command.QUERY_DIRECTORY, body).status)
    if status != NtStatus.NO_MORE_FILES:
        raise RuntimeError(f"the listing ended with {status.name}")
    return server.cpu() - before


def handles(folder: Path, most: int) -> None:
    """So many files open at once, each another: what one takes, and an open beside them.

    Where the system does not let the server have so many descriptors, the files are kept in memory: without them.
    """
    in_memory = _descriptors() < most + _SPARE_DESCRIPTORS
    if in_memory:
        print(f"\nover the memory backend, for there are {_descriptors():,} file descriptors at most")
    _heading("handles", "bytes each", "open+close µs", "read µs")
    with serving(folder, ("memory",) if in_memory else DEFAULT_CHAIN) as server, server.client() as client:
        _make_files(client, most)
        client.write(client.create("beside", access=_WRITE, disposition=c.FILE_CREATE), bytes(4096))
        reader = client.create("beside", access=c.FILE_READ_DATA)
        for _ in range(_OPERATIONS):
            _open_close(client, "beside", access=c.FILE_READ_DATA)()
        held, opened = server.memory(), 0
        for size in _sizes(1000, most):
            for number in range(opened, size):
                client.create(_file(number), access=c.FILE_READ_DATA)
            opened = size
            _row(
                size,
                (server.memory() - held) / size,
                server.cost(_open_close(client, "beside", access=c.FILE_READ_DATA)),
                server.cost(lambda: client.read(reader, 4096)),
            )


def _make_files(client: WireClient, number: int) -> None:
    for index in range(number):
        if not index % _FILES_TOGETHER:
            folder = _file(index).partition("\\")[0]
            client.close(client.create(folder, disposition=c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE))
        client.close(client.create(_file(index), access=_WRITE, disposition=c.FILE_CREATE))


def _file(index: int) -> str:
    return f"folder{index // _FILES_TOGETHER}\\file{index:07}.txt"


def locks(folder: Path, most: int) -> None:
    """So many byte-range locks on one file: what one takes, another lock, and a read of somebody else."""
    _heading("locks", "bytes each", "lock µs", "lock+unlock µs", "read beside µs")
    (folder / "locked").write_bytes(bytes(4096))
    make_owned(folder)
    with serving(folder) as server, server.client() as client, server.client() as other:
        file = client.create("locked", access=_WRITE)
        reader = other.create("locked", access=c.FILE_READ_DATA)
        held, taken = server.memory(), 0
        for size in _sizes(1000, most):
            before, first = server.cpu(), taken
            while taken < size:
                more = min(_LOCKS_AT_ONCE, size - taken)
                wanted = [(10_000 + 2 * (taken + step), 1, _EXCLUSIVE_AT_ONCE) for step in range(more)]
                client.lock(file, wanted)
                taken += more
            each = (server.cpu() - before) / (size - first)
            _row(
                size,
                (server.memory() - held) / size,
                each,
                server.cost(lambda: _lock_unlock(client, file)),
                server.cost(lambda: other.read(reader, 4096)),
            )


def _lock_unlock(client: WireClient, file: tuple[int, int]) -> None:
    client.lock(file, [(1, 1, _EXCLUSIVE_AT_ONCE)])
    client.lock(file, [(1, 1, _UNLOCK)])


def connections(folder: Path, most: int) -> None:
    """So many clients that have logged on and do nothing: what one takes, and an open of the first of them."""
    _heading("connections", "bytes each", "open+close µs", "new one ms")
    (folder / "beside").write_bytes(bytes(4096))
    make_owned(folder)
    with serving(folder) as server, contextlib.ExitStack() as stack:
        client = stack.enter_context(server.client())
        for _ in range(_OPERATIONS):
            with server.client() as passing:
                _open_close(passing, "beside", access=c.FILE_READ_DATA)()
        held, idle = server.memory(), 0
        for size in _sizes(100, most):
            before, began = server.cpu(), idle
            while idle < size:
                stack.enter_context(server.client())
                idle += 1
            each = (server.cpu() - before) / (size - began) / 1000
            time.sleep(0.5)
            _row(
                size,
                (server.memory() - held) / size,
                server.cost(_open_close(client, "beside", access=c.FILE_READ_DATA)),
                each,
            )


def main(words: Sequence[str]) -> None:
    """Measure the chosen curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--curves", default=",".join(CURVES), help="of: %(default)s")
    parser.add_argument("--most", type=int, default=0, help="the largest size on each curve; as much as was asked for")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--chain", default=",".join(DEFAULT_CHAIN), help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.serve:
        serve(arguments.serve, arguments.chain.split(","))
        return
    _raise_files()
    print(f"Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} processors")
    for curve in arguments.curves.split(","):
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="lamina-scale-", dir=place) as folder:
            Path(folder).chmod(0o755)
            run: Callable[[Path, int], None] = globals()[curve]
            run(Path(folder), min(arguments.most or MOST[curve], MOST[curve]))


if __name__ == "__main__":
    main(sys.argv[1:])
