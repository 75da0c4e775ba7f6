"""Locks and leases that programs beside the server see: tried with processes of their own."""

import asyncio
import fcntl
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.outside import FileLease, RangeLock
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions
from lamina.vfs_modules.testing import local_chain, make_token

TOKEN = make_token()
LOCKS = {"posix_locking": True}
LEASES = {"kernel_oplocks": True}


@pytest.fixture
def make_chain(tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    chains = []
    (tmp_path / "file").write_bytes(b"0123456789")

    def make(**options: object) -> Chain:
        chains.append(local_chain(tmp_path, PosixBackend(PosixOptions(**options))))
        return chains[-1]

    yield make
    for chain in chains:
        chain.disconnect()


def opened(chain: Chain, access: Access = Access.READ_WRITE) -> VfsHandle:
    root = chain.open_root(TOKEN)
    handle = chain.open(TOKEN, root, "file", OpenHow(access))
    chain.close(TOKEN, root)
    return handle


_TRY = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
kind = {"r": fcntl.F_RDLCK, "w": fcntl.F_WRLCK}[sys.argv[2]]
asked = struct.pack("hhqqi4x", kind, 0, int(sys.argv[3]), int(sys.argv[4]), 0)
print(struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0] == fcntl.F_UNLCK)
"""


def local_may_lock(path: Path, kind: str, offset: int, length: int) -> bool:
    """Whether a program of its own could lock a range with POSIX locks now."""
    command = [sys.executable, "-c", _TRY, str(path), kind, str(offset), str(length)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "True"


@pytest.fixture
def local_lock(tmp_path: Path) -> Iterator[Callable[[int, int, int], int]]:
    """Lock a range through another open file, as another program would."""
    held = []

    def take(kind: int, offset: int, length: int) -> int:
        fd = os.open(tmp_path / "file", os.O_RDWR)
        held.append(fd)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, 0, offset, length, 0))
        return fd

    yield take
    for fd in held:
        os.close(fd)


def test_nothing_is_claimed_and_nothing_wrapped_unless_asked_for(make_chain):
    chain = make_chain()
    assert not chain.capabilities & (Capability.RANGE_LOCKS | Capability.LEASES)
    backend = chain.modules[-1]
    for name in ("pread", "pwrite", "open", "close"):
        assert getattr(chain, name) == getattr(backend, name)
    with pytest.raises(ValidationError, match="posix_locking"):
        PosixOptions(strict_locking=True)


def test_local_programs_see_what_a_handle_locks(make_chain, tmp_path):
    chain = make_chain(**LOCKS)
    assert chain.capabilities & Capability.RANGE_LOCKS
    handle = opened(chain)
    chain.set_range_lock(TOKEN, handle, 2, 4, RangeLock.SHARED)
    assert local_may_lock(tmp_path / "file", "r", 2, 1)
    assert not local_may_lock(tmp_path / "file", "w", 5, 1)
    assert local_may_lock(tmp_path / "file", "w", 6, 1)
    chain.set_range_lock(TOKEN, handle, 3, 1, RangeLock.EXCLUSIVE)
    assert not local_may_lock(tmp_path / "file", "r", 3, 1)
    chain.set_range_lock(TOKEN, handle, 0, 4, RangeLock.NONE)
    assert local_may_lock(tmp_path / "file", "w", 0, 4)
    assert not local_may_lock(tmp_path / "file", "w", 4, 1)
    chain.close(TOKEN, handle)
    assert local_may_lock(tmp_path / "file", "w", 0, 0)


def test_another_handle_of_ours_loses_nothing_when_one_is_closed(make_chain, tmp_path):
    chain = make_chain(**LOCKS)
    first, second = opened(chain), opened(chain)
    chain.set_range_lock(TOKEN, first, 0, 1, RangeLock.EXCLUSIVE)
    chain.close(TOKEN, second)
    assert not local_may_lock(tmp_path / "file", "r", 0, 1)
    chain.close(TOKEN, first)


def test_a_local_lock_in_the_way_refuses_and_changes_nothing(make_chain, tmp_path, local_lock):
    chain = make_chain(**LOCKS)
    handle = opened(chain)
    chain.set_range_lock(TOKEN, handle, 0, 5, RangeLock.SHARED)
    local_lock(fcntl.F_RDLCK, 4, 1)
    with pytest.raises(BlockingIOError):
        chain.set_range_lock(TOKEN, handle, 0, 6, RangeLock.EXCLUSIVE)
    assert local_may_lock(tmp_path / "file", "r", 0, 4)
    assert not local_may_lock(tmp_path / "file", "w", 0, 1)
    chain.close(TOKEN, handle)


def test_what_the_kernel_cannot_express_is_left_out(make_chain, tmp_path):
    chain = make_chain(**LOCKS)
    reader, writer = opened(chain, Access.READ), opened(chain, Access.WRITE)
    for offset, length in ((5, 0), (1 << 63, 10), ((1 << 64) - 1, 1)):
        chain.set_range_lock(TOKEN, reader, offset, length, RangeLock.EXCLUSIVE)
    assert local_may_lock(tmp_path / "file", "w", 0, 0)
    chain.set_range_lock(TOKEN, writer, 0, 2, RangeLock.SHARED)
    assert local_may_lock(tmp_path / "file", "w", 0, 2)
    chain.set_range_lock(TOKEN, reader, (1 << 63) - 1, 1 << 63, RangeLock.EXCLUSIVE)
    assert local_may_lock(tmp_path / "file", "r", (1 << 63) - 1, 0)
    assert not local_may_lock(tmp_path / "file", "w", (1 << 63) - 1, 0)
    chain.close(TOKEN, reader)
    chain.close(TOKEN, writer)


@pytest.mark.parametrize("offload", ["never", "always"])
def test_strict_locking_refuses_data_that_others_have_locked(make_chain, local_lock, offload):
    chain = make_chain(**LOCKS, strict_locking=True, offload=offload)
    handle = opened(chain)
    local_lock(fcntl.F_RDLCK, 0, 2)
    local_lock(fcntl.F_WRLCK, 4, 2)
    buffer = memoryview(bytearray(2))
    assert chain.pread(TOKEN, handle, buffer, 0) == 2
    assert chain.pwrite(TOKEN, handle, memoryview(b"xx"), 2) == 2
    refused = [
        lambda: chain.pread(TOKEN, handle, buffer, 5),
        lambda: chain.pwrite(TOKEN, handle, memoryview(b"xx"), 1),
        lambda: chain.zero_range(TOKEN, handle, 0, 4096, False),
        lambda: chain.copy_range(TOKEN, handle, 5, handle, 8, 1),
        lambda: chain.clone_range(TOKEN, handle, 8, handle, 5, 1),
    ]
    for call in refused:
        with pytest.raises(BlockingIOError):
            call()
    chain.set_range_lock(TOKEN, handle, 8, 2, RangeLock.EXCLUSIVE)
    assert chain.pread(TOKEN, handle, buffer, 8) == 2
    chain.close(TOKEN, handle)


# Leases.


async def told(told_of: list[FileLease]) -> None:
    async with asyncio.timeout(10):
        while not told_of:
            await asyncio.sleep(0.001)


_OPEN = """
import os, sys
fd = os.open(sys.argv[1], int(sys.argv[2]))
print(os.read(fd, 1).decode() if not int(sys.argv[2]) & os.O_WRONLY else "opened")
"""


def local_open(path: Path, flags: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _OPEN, str(path), str(flags)], stdout=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=30)[0].strip()


@pytest.mark.parametrize(
    ("access", "lease", "flags", "to"),
    [
        (Access.READ_WRITE, FileLease.WRITE, os.O_RDONLY, FileLease.READ),
        (Access.READ_WRITE, FileLease.WRITE, os.O_WRONLY, FileLease.NONE),
        (Access.READ, FileLease.WRITE, os.O_RDONLY, FileLease.READ),
        (Access.READ, FileLease.READ, os.O_WRONLY, FileLease.NONE),
    ],
)
def test_a_local_open_waits_until_the_lease_is_given_back(make_chain, tmp_path, access, lease, flags, to):
    chain = make_chain(**LEASES)
    assert chain.capabilities & Capability.LEASES
    handle = opened(chain, access)

    async def body():
        asked: list[FileLease] = []
        chain.set_lease(TOKEN, handle, lease, asked.append)
        process = local_open(tmp_path / "file", flags)
        await told(asked)
        assert asked == [to]
        assert process.poll() is None
        chain.set_lease(TOKEN, handle, FileLease.NONE, asked.append)
        assert await asyncio.to_thread(finish, process) == ("0" if flags == os.O_RDONLY else "opened")

    asyncio.run(body())
    chain.close(TOKEN, handle)


def test_a_lease_may_be_lowered_where_the_file_is_open_for_reading(make_chain, tmp_path):
    chain = make_chain(**LEASES)
    handle = opened(chain, Access.READ)

    async def body():
        asked: list[FileLease] = []
        chain.set_lease(TOKEN, handle, FileLease.WRITE, asked.append)
        process = local_open(tmp_path / "file", os.O_RDONLY)
        await told(asked)
        chain.set_lease(TOKEN, handle, FileLease.READ, asked.append)
        assert await asyncio.to_thread(finish, process) == "0"
        asked.clear()
        process = local_open(tmp_path / "file", os.O_WRONLY)
        await told(asked)
        assert asked == [FileLease.NONE]
        chain.close(TOKEN, handle)
        assert await asyncio.to_thread(finish, process) == "opened"

    asyncio.run(body())


def test_readers_do_not_break_a_lease_for_reading(make_chain, tmp_path):
    chain = make_chain(**LEASES)
    handle = opened(chain, Access.READ)

    async def body():
        asked: list[FileLease] = []
        chain.set_lease(TOKEN, handle, FileLease.READ, asked.append)
        assert await asyncio.to_thread(finish, local_open(tmp_path / "file", os.O_RDONLY)) == "0"
        assert not asked

    asyncio.run(body())
    chain.close(TOKEN, handle)


def test_no_lease_of_what_others_have_open(make_chain, tmp_path):
    chain = make_chain(**LEASES)
    handle = opened(chain)

    async def body():
        with open(tmp_path / "file", "rb"), pytest.raises(BlockingIOError):
            chain.set_lease(TOKEN, handle, FileLease.WRITE, lambda _: None)
        chain.set_lease(TOKEN, handle, FileLease.WRITE, lambda _: None)

    asyncio.run(body())
    chain.close(TOKEN, handle)


def test_an_open_of_our_own_waits_for_our_own_lease(make_chain):
    chain = make_chain(**LEASES)
    handle = opened(chain)

    async def body():
        engine = Engine(asyncio.get_running_loop(), threads=1)
        asked: list[FileLease] = []
        chain.set_lease(TOKEN, handle, FileLease.WRITE, asked.append)
        other = asyncio.ensure_future(engine.run(opened, chain))
        await told(asked)
        assert not other.done()
        chain.set_lease(TOKEN, handle, FileLease.NONE, asked.append)
        chain.close(TOKEN, await other)
        engine.close()

    asyncio.run(body())
    chain.close(TOKEN, handle)


def test_leases_work_in_a_thread_that_is_not_the_main_one(make_chain, tmp_path):
    chain = make_chain(**LEASES)
    handle = opened(chain)
    outcome: list[str] = []

    async def body():
        asked: list[FileLease] = []
        chain.set_lease(TOKEN, handle, FileLease.WRITE, asked.append)
        process = local_open(tmp_path / "file", os.O_RDONLY)
        await told(asked)
        chain.set_lease(TOKEN, handle, FileLease.NONE, asked.append)
        outcome.append(await asyncio.to_thread(finish, process))

    thread = threading.Thread(target=asyncio.run, args=(body(),))
    thread.start()
    thread.join()
    assert outcome == ["0"]
    chain.close(TOKEN, handle)


def test_many_breaks_at_once_are_all_told(make_chain, tmp_path):
    chain = make_chain(**LEASES)
    for number in range(100):
        (tmp_path / f"file{number}").write_bytes(b"0")
    root = chain.open_root(TOKEN)
    handles = [chain.open(TOKEN, root, f"file{number}", OpenHow(Access.READ)) for number in range(100)]

    async def body():
        asked: set[int] = set()

        def ask(number: int) -> Callable[[FileLease], None]:
            return lambda to: asked.add(number)

        for number, handle in enumerate(handles):
            chain.set_lease(TOKEN, handle, FileLease.WRITE, ask(number))
        for number in range(100):
            with pytest.raises(BlockingIOError):
                os.open(tmp_path / f"file{number}", os.O_WRONLY | os.O_NONBLOCK)
        async with asyncio.timeout(10):
            while len(asked) < 100:
                await asyncio.sleep(0.001)
        for handle in handles:
            chain.set_lease(TOKEN, handle, FileLease.NONE, lambda _: None)

    asyncio.run(body())
    for handle in (*handles, root):
        chain.close(TOKEN, handle)
