"""Programs of this machine open what clients cache."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants.caching import (
    HANDLE_CACHING,
    OPLOCK_LEVEL_BATCH,
    OPLOCK_LEVEL_EXCLUSIVE,
    OPLOCK_LEVEL_II,
    OPLOCK_LEVEL_NONE,
    READ_CACHING,
    WRITE_CACHING,
)
from lamina.ntfsa.grants.grant_holders import (
    BreakNotice,
    LeaseRequest,
    acknowledge_lease_break,
    acknowledge_oplock_break,
)
from lamina.ntfsa.opening.create import CreateResult
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.stock.posix.backend import PosixBackend, PosixOptions

R, RW, RWH = READ_CACHING, READ_CACHING | WRITE_CACHING, READ_CACHING | WRITE_CACHING | HANDLE_CACHING
READS = {"desired_access": c.FILE_READ_DATA}
_OPEN = "import os, sys; os.close(os.open(sys.argv[1], int(sys.argv[2]))); print('opened')"


@pytest.fixture
def share(make_share):
    made = make_share(PosixBackend(PosixOptions(kernel_oplocks=True)))
    made.make("file", b"data")
    return made


def _output(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=30)[0].strip()


class World:
    """An event loop with a request engine, and programs beside the server."""

    def __init__(self, share) -> None:
        self.share = share
        self.path = os.path.join(share.chain.share.path, "file")
        self.engine = Engine(asyncio.get_running_loop(), threads=1)
        self.notices: list[BreakNotice] = []

    def request(self, function: Callable[..., Any], *args: object, **kwargs: object) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self.engine.run(function, *args, **kwargs))

    def listen(self, notice: BreakNotice) -> bool:
        self.notices.append(notice)
        return True

    async def open(self, level: int = 0, **asked: object) -> CreateResult:
        result: CreateResult = await self.request(self.share.create, "file", oplock_level=level, **asked)
        if result.open.oplock is not None:
            result.open.oplock.listener = self.listen
        if result.open.lease is not None:
            result.open.lease.listeners[result.open.owner] = self.listen
        return result

    async def program(self, flags: int) -> "asyncio.Task[str]":
        """A program that opens the file; the task is done when it has it."""
        process = subprocess.Popen(
            [sys.executable, "-c", _OPEN, self.path, str(flags)], stdout=subprocess.PIPE, text=True
        )
        return asyncio.ensure_future(asyncio.to_thread(_output, process))

    async def broken(self) -> BreakNotice:
        async with asyncio.timeout(10):
            while not self.notices:
                await asyncio.sleep(0.001)
        return self.notices.pop()

    def local_open_now(self, flags: int) -> bool:
        """Whether a program has the file without waiting."""
        try:
            os.close(os.open(self.path, flags | os.O_NONBLOCK))
        except BlockingIOError:
            return False
        return True


def scenario(share, body) -> None:
    async def main() -> None:
        world = World(share)
        await body(world)
        world.engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("level", [OPLOCK_LEVEL_EXCLUSIVE, OPLOCK_LEVEL_BATCH])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
def test_an_oplock_is_given_up_before_a_program_has_the_file(share, level, flags):
    async def body(world):
        result = await world.open(level)
        assert result.oplock_level == level
        program = await world.program(flags)
        notice = await world.broken()
        assert notice.to == 0
        assert notice.answer_awaited
        assert not program.done()
        acknowledge_oplock_break(result.open, OPLOCK_LEVEL_NONE)
        assert await program == "opened"
        assert not share.registry.read(result.open.file_key).grants
        share.close(result.open)

    scenario(share, body)


def test_a_lease_is_given_up_too(share):
    async def body(world):
        result = await world.open(lease=LeaseRequest(bytes(16), RWH))
        assert result.lease.state == RWH
        program = await world.program(os.O_RDONLY)
        assert (await world.broken()).to == 0
        acknowledge_lease_break(share.volume.leases, result.open.lease.identity, 0)
        assert await program == "opened"
        share.close(result.open)

    scenario(share, body)


def test_who_closes_instead_of_answering_lets_the_program_in(share):
    async def body(world):
        result = await world.open(OPLOCK_LEVEL_BATCH)
        program = await world.program(os.O_WRONLY)
        await world.broken()
        share.close(result.open)
        assert await program == "opened"

    scenario(share, body)


def test_a_client_that_cannot_be_told_holds_up_nobody(share):
    async def body(world):
        result = await world.open(OPLOCK_LEVEL_BATCH)
        result.open.oplock.listener = lambda notice: False
        assert await (await world.program(os.O_RDWR)) == "opened"
        share.close(result.open)

    scenario(share, body)


def test_nothing_is_cached_of_a_file_that_a_program_has_open(share):
    async def body(world):
        with open(world.path, "rb"):
            result = await world.open(OPLOCK_LEVEL_BATCH)
            assert result.oplock_level == OPLOCK_LEVEL_NONE
            leased = await world.open(lease=LeaseRequest(bytes(16), R))
            assert leased.lease.state == 0
        share.close(result.open)
        share.close(leased.open)

    scenario(share, body)


def test_readers_cache_beside_readers_and_lose_it_to_a_writer(share):
    async def body(world):
        first = await world.open(OPLOCK_LEVEL_II, **READS)
        second = await world.open(lease=LeaseRequest(bytes(16), RWH), **READS)
        assert (first.oplock_level, second.lease.state) == (OPLOCK_LEVEL_II, R)
        assert world.local_open_now(os.O_RDONLY)
        assert not world.notices
        program = await world.program(os.O_WRONLY)
        notices = [await world.broken(), await world.broken()]
        assert [notice.to for notice in notices] == [0, 0]
        assert await program == "opened"
        share.close(first.open)
        share.close(second.open)

    scenario(share, body)


def test_another_client_opens_the_file_after_the_break(share):
    async def body(world):
        first = await world.open(OPLOCK_LEVEL_EXCLUSIVE)
        opening = world.request(share.create, "file", **READS)
        assert (await world.broken()).to == 0
        assert not opening.done()
        acknowledge_oplock_break(first.open, OPLOCK_LEVEL_NONE)
        second = await opening
        assert world.local_open_now(os.O_WRONLY)
        share.close(first.open)
        share.close(second.open)

    scenario(share, body)


def test_rights_that_lose_their_guard_end(share):
    async def body(world):
        lease = LeaseRequest(bytes(16), RW)
        first = await world.open(lease=lease)
        looks = await world.open(lease=lease, desired_access=c.DELETE)
        assert looks.lease.state == RW
        share.close(first.open)
        assert (await world.broken()).to == 0
        share.close(looks.open)

    scenario(share, body)


def test_a_refused_oplock_leaves_no_lease_behind(share):
    async def body(world):
        result = await world.open(0)
        assert world.local_open_now(os.O_WRONLY)
        share.close(result.open)

    scenario(share, body)
