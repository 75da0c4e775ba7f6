"""Byte-range locks of clients and of local programs, on one file."""

import asyncio
import fcntl
import os
import struct
from collections.abc import Callable, Iterator

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.locks.lock import LockElement as E
from lamina.ntfsa.locks.lock import lock
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions

EX, SH, UN, NOW = (
    c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK,
    c.SMB2_LOCKFLAG_SHARED_LOCK,
    c.SMB2_LOCKFLAG_UNLOCK,
    c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY,
)
FLOCK = "hhqqi4x"


class Local:
    """A local program that has the file open. Locks belong to the open file, so it may be of this process."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR)

    def _asked(self, kind: int, offset: int, length: int) -> bytes:
        return struct.pack(FLOCK, kind, os.SEEK_SET, offset, length, 0)

    def lock(self, kind: int, offset: int, length: int) -> None:
        fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, self._asked(kind, offset, length))

    def sees(self, offset: int) -> str:
        """How others have a byte locked: "", "shared" or "exclusive"."""

        def free(kind: int) -> bool:
            answer = fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, self._asked(kind, offset, 1))
            return bool(struct.unpack(FLOCK, answer)[0] == fcntl.F_UNLCK)

        return "" if free(fcntl.F_WRLCK) else "shared" if free(fcntl.F_RDLCK) else "exclusive"


@pytest.fixture
def share(make_share):
    made = make_share(PosixBackend(PosixOptions(posix_locking=True, strict_locking=True)))
    made.make("file", bytes(100))
    return made


@pytest.fixture
def local(share) -> Iterator[Local]:
    program = Local(os.path.join(share.chain.share.path, "file"))
    yield program
    os.close(program.fd)


def test_local_programs_see_the_locks_of_clients(share, local):
    one = share.open("file")
    lock(share.context, one, [E(0, 10, EX | NOW), E(20, 10, SH | NOW)])
    assert (local.sees(0), local.sees(10), local.sees(20)) == ("exclusive", "", "shared")
    lock(share.context, one, [E(0, 10, UN)])
    assert (local.sees(0), local.sees(20)) == ("", "shared")
    share.close(one)
    assert local.sees(20) == ""


def test_of_stacked_locks_the_rest_stays(share, local):
    one = share.open("file")
    lock(share.context, one, [E(0, 10, SH | NOW), E(5, 10, SH | NOW), E(0, 10, SH | NOW)])
    lock(share.context, one, [E(0, 10, UN)])
    assert local.sees(0) == "shared"
    lock(share.context, one, [E(0, 10, UN)])
    assert (local.sees(0), local.sees(5), local.sees(14)) == ("", "shared", "shared")


def test_a_shared_lock_within_an_exclusive_one_weakens_nothing(share, local):
    one = share.open("file")
    lock(share.context, one, [E(0, 10, EX | NOW), E(5, 10, SH | NOW)])
    assert (local.sees(5), local.sees(12)) == ("exclusive", "shared")
    lock(share.context, one, [E(0, 10, UN)])
    assert (local.sees(4), local.sees(5)) == ("", "shared")


def test_a_lock_of_a_local_program_refuses_the_whole_request(share, local, refused):
    one, two = share.open("file"), share.open("file")
    local.lock(fcntl.F_RDLCK, 50, 1)
    refused(S.LOCK_NOT_GRANTED, lock, share.context, one, [E(0, 10, EX | NOW), E(50, 1, EX | NOW)])
    assert local.sees(0) == ""
    lock(share.context, two, [E(0, 10, EX | NOW), E(50, 1, SH | NOW)])


def test_a_refused_lock_leaves_what_the_open_had(share, local, refused):
    one = share.open("file")
    lock(share.context, one, [E(0, 10, SH | NOW)])
    local.lock(fcntl.F_RDLCK, 15, 1)
    lock(share.context, one, [E(0, 10, SH | NOW)])
    refused(S.LOCK_NOT_GRANTED, lock, share.context, one, [E(10, 10, EX | NOW)])
    assert (local.sees(0), local.sees(10)) == ("shared", "")
    lock(share.context, one, [E(0, 10, UN), E(0, 10, UN)])
    assert local.sees(0) == ""


def test_reads_and_writes_over_a_local_lock_are_refused(share, local, refused):
    one = share.open("file")
    local.lock(fcntl.F_WRLCK, 10, 10)
    local.lock(fcntl.F_RDLCK, 30, 10)
    refused(S.FILE_LOCK_CONFLICT, share.read, one, 10, 5)
    refused(S.FILE_LOCK_CONFLICT, share.write, one, b"x", 35)
    assert share.read(one, 10, 30) == bytes(10)
    assert share.write(one, b"x", 20) == 1


def test_ranges_without_bytes_and_beyond_what_the_kernel_knows_are_locked_among_clients(share, local, refused):
    one, two = share.open("file"), share.open("file")
    lock(share.context, one, [E(5, 0, EX | NOW), E(2**63, 2**63, EX | NOW)])
    refused(S.LOCK_NOT_GRANTED, lock, share.context, two, [E(2**64 - 1, 1, SH | NOW)])
    assert local.sees(5) == ""


class Requests:
    """Requests on one loop; each ends in `outcomes`."""

    def __init__(self) -> None:
        self.engine = Engine(asyncio.get_running_loop(), threads=1)
        self.outcomes: dict[str, object] = {}

    def start(self, name: str, function: Callable[..., object], *args: object) -> Task:
        def run() -> None:
            try:
                function(*args)
                self.outcomes[name] = S.SUCCESS
            except NtStatusError as error:
                self.outcomes[name] = error.status
            except RequestCancelled:
                self.outcomes[name] = "cancelled"

        task = Task()
        self.engine.spawn(task, run)
        return task

    async def ended(self, name: str) -> object:
        async with asyncio.timeout(10):
            while name not in self.outcomes:
                await asyncio.sleep(0.001)
        return self.outcomes[name]


def test_a_lock_waits_for_a_local_program(share, local):
    one, two = share.open("file"), share.open("file")

    async def body() -> None:
        local.lock(fcntl.F_WRLCK, 0, 10)
        requests = Requests()
        requests.start("waits", lock, share.context, one, [E(5, 10, EX)])
        assert "waits" not in requests.outcomes
        # Meanwhile others are not held up by it.
        lock(share.context, two, [E(12, 1, EX | NOW)])
        lock(share.context, two, [E(12, 1, UN)])
        local.lock(fcntl.F_UNLCK, 0, 10)
        assert await requests.ended("waits") is S.SUCCESS
        assert local.sees(14) == "exclusive"
        requests.engine.close()

    asyncio.run(body())


def test_whoever_waits_for_a_local_program_may_give_up_or_close(share, local):
    one, two = share.open("file"), share.open("file")

    async def body() -> None:
        local.lock(fcntl.F_WRLCK, 0, 10)
        requests = Requests()
        task = requests.start("cancelled", lock, share.context, one, [E(5, 10, EX)])
        requests.start("closed", lock, share.context, two, [E(5, 10, EX)])
        await asyncio.sleep(0)
        task.cancel()
        share.close(two)
        assert await requests.ended("cancelled") == "cancelled"
        assert await requests.ended("closed") is S.RANGE_NOT_LOCKED
        assert not share.registry.read(one.file_key).locks
        assert one.waiting_locks is None
        requests.engine.close()

    asyncio.run(body())
