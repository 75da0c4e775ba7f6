"""`python -m benchmarks.backends`: Lamina over CephFS and GlusterFS beside a folder, under the loads of the others.

Real servers of one node each, as the tests have them, on this machine: what the network would cost is not in it, and
what the storage's own daemons do is in the rate, not in the CPU time.
"""

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import cases
from benchmarks.client import Account
from benchmarks.measure import build_generator
from benchmarks.runs import BUILD, measure_case, pin_generator
from benchmarks.servers import DATA_FILE_SIZE, SHARE, Server, ServerError
from benchmarks.table import as_json, heading, row
from lamina.core.plan import ModuleSpec
from lamina.core.server import Server as LaminaServer
from tests.contrib import stores
from tests.contrib.stores import Store
from tests.support.processes import REPOSITORY, give_to

_WORKLOADS = "echo,read4k,write4k,read1m,write1m,openclose,stat,createdelete,list1000"
_LISTED = 1000


def _fill(store: Store) -> str:
    """A folder of the store with what the workloads expect, of whom the server acts as."""
    owner, top = store.users[0], "/bench"
    files = {"small": b"small", "data": os.urandom(DATA_FILE_SIZE)}
    files |= {f"list/file{number:04}.txt": b"" for number in range(_LISTED)}
    for folder in (top, f"{top}/made", f"{top}/list"):
        store.view.make_folder(folder)
        store.give(folder, owner, 0o755)
    for name, content in files.items():
        store.view.write(f"{top}/{name}", content)
        store.give(f"{top}/{name}", owner, 0o644)
    return top


def _start(store: Store, scratch: Path) -> Server:
    """Serve the folder of a store. Raises ServerError."""
    share = store.folder(_fill(store))
    account = Account("bench", secrets.token_hex(8))
    # Whose the folder is decides who files are made as.
    path = Path(share.path) if store.name == "posix" else scratch / store.name
    path.mkdir(exist_ok=True)
    give_to(path, store.users[0])
    words = [sys.executable, "-m", "benchmarks.backends", "--serve"]
    told = json.dumps({"path": str(path), "account": account, "chain": share.chain})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *store.python_path])}
    process = subprocess.Popen([*words, told], env=environment, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    line = process.stdout.readline().decode().strip()
    if not line.isdecimal():
        process.kill()
        raise ServerError(f"Lamina did not start over {store.name}")
    return Server(store.name, process, int(line), account)


def _serve(told: Mapping[str, Any]) -> None:
    """Be such a server until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[:1])
    chain = tuple(ModuleSpec(name, options) for name, options in told["chain"])
    user, password = told["account"]
    server = LaminaServer({SHARE: told["path"]}, users={user: password}, chain=chain, require_signing=False)
    with server:
        print(server.port, flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


@contextlib.contextmanager
def _servers(names: Sequence[str]) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lamina-bench-")))
        scratch.chmod(0o755)
        servers = []
        for name in names:
            store = stack.enter_context(stores.running(name, f"bench-{os.getpid()}"))
            servers.append(_start(store, scratch))
            stack.callback(servers[-1].stop)
        yield servers


def main(words: Sequence[str]) -> int:
    """Measure what `words` ask for; the exit status."""
    if words[:1] == ["--serve"]:
        _serve(json.loads(words[1]))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backends", description=__doc__)
    parser.add_argument("--shares", default="posix,ceph,glusterfs", help="of: %(default)s")
    parser.add_argument("--workloads", default=_WORKLOADS, help="%(default)s")
    parser.add_argument("--modes", default="signed", help="%(default)s")
    parser.add_argument("--depth", default="1,8", help="requests under way at once; %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of each case, of which the median counts; %(default)s")
    parser.add_argument("--json", type=Path, help="write the medians here, too")
    arguments = parser.parse_args(words)
    generator = build_generator(BUILD)
    lines = []
    with _servers(arguments.shares.split(",")) as servers:
        pin_generator()
        print(heading([server.name for server in servers]), flush=True)
        depths = [int(depth) for depth in arguments.depth.split(",")]
        for case in cases(arguments.workloads.split(","), arguments.modes.split(","), depths, [1]):
            lines.append(measure_case(servers, case, arguments.seconds, arguments.runs, generator))
            print(row(lines[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(as_json(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
