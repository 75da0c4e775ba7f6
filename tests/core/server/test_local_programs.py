"""Programs of this machine and clients that use the same files. The server's thread is not the main one."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.core.plan import ModuleSpec, ShareSpec
from lamina.core.wire.constants import LOCKFLAG_EXCLUSIVE_LOCK, LOCKFLAG_FAIL_IMMEDIATELY, Command
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH, OPLOCK_LEVEL_NONE
from tests.core.server.test_oplocks import Holder, begin_open, opened
from tests.support.served import Served, new_file
from tests.support.wire_client import StatusError, WireClient

EXCLUSIVE = LOCKFLAG_EXCLUSIVE_LOCK | LOCKFLAG_FAIL_IMMEDIATELY
OPTIONS = {"posix_locking": True, "strict_locking": True, "kernel_oplocks": True}
_PROGRAM = "import os, sys; print(os.read(os.open(sys.argv[1], os.O_RDWR), 9).decode())"


@pytest.fixture
def served(serve: Callable[..., Served], tmp_path: Path) -> Served:
    chain = (ModuleSpec("dos_attributes"), ModuleSpec("posix", OPTIONS))
    return serve(shares={"data": ShareSpec(tmp_path / "data", chain=chain)})


@pytest.fixture
def program(served: Served) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Starts a program that opens the file "file" for reading and writing, and prints what is in it."""
    started = []

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", _PROGRAM, str(served.folder / "file")]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.communicate(timeout=30)


def test_a_program_reads_what_a_client_had_not_written_back(
    client: WireClient, program: Callable[[], "subprocess.Popen[str]"]
) -> None:
    holder = Holder(client, new_file(client, oplock_level=OPLOCK_LEVEL_BATCH))
    assert holder.file.response.oplock_level == OPLOCK_LEVEL_BATCH
    reader = program()
    assert holder.broken() == OPLOCK_LEVEL_NONE
    assert reader.poll() is None
    client.write(holder.file, b"cached")
    holder.acknowledge(OPLOCK_LEVEL_NONE).check()
    assert reader.communicate(timeout=30)[0].strip() == "cached"


def test_another_client_and_a_program_want_the_file_at_once(
    served: Served, client: WireClient, program: Callable[[], "subprocess.Popen[str]"]
) -> None:
    holder = Holder(client, new_file(client, oplock_level=OPLOCK_LEVEL_BATCH))
    other = served.connected()
    waiting = begin_open(other)
    reader = program()
    assert holder.broken() == OPLOCK_LEVEL_NONE
    holder.acknowledge(OPLOCK_LEVEL_NONE).check()
    assert opened(other, waiting).response.oplock_level == OPLOCK_LEVEL_NONE
    reader.communicate(timeout=30)
    assert holder.told_nothing()


def test_a_client_that_vanishes_lets_the_program_in(
    client: WireClient, program: Callable[[], "subprocess.Popen[str]"]
) -> None:
    holder = Holder(client, new_file(client, oplock_level=OPLOCK_LEVEL_BATCH))
    reader = program()
    holder.broken()
    client.disconnect()
    assert reader.communicate(timeout=30)[0].strip() == ""


def test_locks_of_a_client_and_of_a_program(served: Served, client: WireClient) -> None:
    file = new_file(client)
    client.write(file, bytes(10))
    with open(served.folder / "file", "r+b", buffering=0) as local:
        client.lock(file, [(0, 5, EXCLUSIVE)])
        with pytest.raises(BlockingIOError):
            fcntl.lockf(local, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 4)
        fcntl.lockf(local, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 5, os.SEEK_SET)
        with pytest.raises(StatusError, match="LOCK_NOT_GRANTED"):
            client.lock(file, [(6, 1, EXCLUSIVE)])
        with pytest.raises(StatusError, match="FILE_LOCK_CONFLICT"):
            client.read(file, 4, 4)
        assert client.read(file, 5, 0) == bytes(5)
        patient = LockRequest(*file.file_id, (WireLock(6, 1, LOCKFLAG_EXCLUSIVE_LOCK),))
        waiting = client.send(Command.LOCK, encode_lock_request(patient))
        client.wait_interim(waiting)
        fcntl.lockf(local, fcntl.LOCK_UN, 2, 5, os.SEEK_SET)
        client.wait(waiting).check()
