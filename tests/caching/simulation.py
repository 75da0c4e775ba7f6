"""Twenty clients of a whole server, in virtual time, who open, read, write, lock, rename, delete and disconnect.

After each step everything must be true that a file server promises: see `Simulation.check`. A `BrokenPromiseError`
names the seed and tells what was done last; the same seed does the same again.
"""

import asyncio
import itertools
import random
from collections import defaultdict, deque
from math import inf
from typing import Final
from unittest.mock import patch

from lamina.core.session import SmbOpen
from lamina.ntfsa.grants import caching, grant_holders
from lamina.ntfsa.record import STABLE, FileKey, FileRecord, LockRange
from lamina.ntfsa.status import NtStatus
from tests.caching.actor import Actor
from tests.caching.beliefs import Holding, OpenFile
from tests.caching.memory_server import MemoryServer
from tests.caching.requester import FOLDER_KEY
from tests.caching.virtual_time import VirtualLoop, clocks_of_ntfsa
from tests.support.granted import rights
from tests.support.wire_client import status_name

CLIENTS: Final = 20
_ACTIONS: Final = {
    Actor.open_file: 30,
    Actor.close_file: 12,
    Actor.read: 8,
    Actor.write: 10,
    Actor.resize: 2,
    Actor.rename: 3,
    Actor.delete: 2,
    Actor.lock: 10,
    Actor.unlock: 8,
    Actor.watch: 1,
    Actor.cancel: 2,
    Actor.secure: 1,
    Actor.lease_folder: 2,
}
_WAITS_FOR_BREAKS: Final = ("open", "open folder", "lease folder", "rename", "delete", "secure")


class BrokenPromiseError(AssertionError):
    """Something was not as it must be."""


class Simulation:
    """The clients, and what must be true of what they see."""

    def __init__(self, seed: int, server: MemoryServer) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.server = server
        self.loop = server.loop
        self.actors: list[Actor] = []
        self.leases: dict[bytes, dict[bytes, Holding]] = defaultdict(dict)
        self.contents: dict[FileKey, bytes] = {}
        self.given_up: set[tuple[bytes, bytes]] = set()
        self.log: deque[str] = deque(maxlen=120)
        self.done = 0
        self._names = itertools.count(1)

    # -- saying --------------------------------------------------------------------------------------------------

    def note(self, *words: object) -> None:
        """Something was done."""
        self.log.append(f"{self.loop.time():9.2f} " + " ".join(map(str, words)))

    def fail(self, what: str, is_: object, should_be: object) -> None:
        """Raise BrokenPromiseError."""
        shown = tuple(status_name(each) if isinstance(each, NtStatus | int) else each for each in (is_, should_be))
        story = "\n".join(self.log)
        raise BrokenPromiseError(f"seed {self.seed}: {what}\n  is:        {shown[0]}\n  should be: {shown[1]}\n{story}")

    def expect(self, what: str, is_: object, should_be: object) -> None:
        """Raise BrokenPromiseError where two things differ."""
        if is_ != should_be:
            self.fail(what, is_, should_be)

    def expect_one_of(self, what: str, status: int, *allowed: NtStatus) -> None:
        """Raise BrokenPromiseError where a status is none of those."""
        if status not in allowed:
            self.fail(what, status, [each.name for each in allowed])

    # -- looking into the server ---------------------------------------------------------------------------------

    def _open(self, volatile: int) -> SmbOpen:
        sessions = self.server.core.sessions.values()
        return next(session.opens[volatile] for session in sessions if volatile in session.opens)

    def key_of(self, volatile: int) -> FileKey:
        """The file of an open."""
        nt = self._open(volatile).nt
        assert nt is not None
        return nt.file_key

    def records(self) -> dict[FileKey, FileRecord]:
        """The records of the registry."""
        return dict(self.server.runtime.registry.items())  # type: ignore[attr-defined]

    def open_files(self) -> list[tuple[Actor, OpenFile]]:
        """All that clients have open."""
        return [(actor, file) for actor in self.actors for file in actor.files]

    def is_refused(self, status: int, file: OpenFile, wanted: LockRange, *, writing: bool) -> bool:
        """Whether reading or writing the range was refused, as it must be across the locks that clients know they have.

        Who waits for a lock may have it and not know it yet.
        """
        held = [(other, lock) for _, other in self.open_files() for lock in other.locks]
        asked = [each for actor in self.actors for each in actor.asked.values() if each.kind == "wait for lock"]
        coming = [(each.file, each.details[0]) for each in asked]
        if any(_in_the_way(lock, owner, wanted, file, writing) for owner, lock in held):
            self.expect("access across a lock", status, NtStatus.FILE_LOCK_CONFLICT)
        elif status == NtStatus.FILE_LOCK_CONFLICT:
            may_be = any(_in_the_way(lock, owner, wanted, file, writing) for owner, lock in coming)  # type: ignore[arg-type]
            self.expect("access where nobody knows of a lock", may_be, True)
        return status == NtStatus.FILE_LOCK_CONFLICT

    # -- running -------------------------------------------------------------------------------------------------

    async def run(self, steps: int) -> None:
        """Everybody does what he likes, and at last everybody goes."""
        guids = [f"guid {number % (CLIENTS - 4):011d}".encode() for number in range(CLIENTS)]
        for guid in guids:
            await self._arrive(guid)
        for _ in range(steps):
            await self._step()
        await self._end()

    async def _arrive(self, guid: bytes) -> None:
        self.actors.append(await Actor.arrive(self, f"client{next(self._names)}", guid))

    async def _step(self) -> None:
        actor = self.random.choice(self.actors)
        chance = self.random.random()
        if chance < 0.004:
            await self._replace(actor)
        elif chance < 0.1:
            await asyncio.sleep(self.random.choice([0.01, 0.5, 3.0, 3.0, 15.0, 36.0]))
        else:
            # Some at the same time: nobody has heard what came of the others' requests.
            for each in self.random.sample(self.actors, self.random.choice([1, 1, 1, 2, 5])):
                self.random.choices(list(_ACTIONS), list(_ACTIONS.values()))[0](each)
        await self._catch_up()
        self.check()
        self.done += 1

    async def _replace(self, actor: Actor) -> None:
        """A client is gone without a word, and another comes."""
        self.note(actor.name, "is gone")
        self._leave(actor)
        await self._catch_up()
        await self._arrive(actor.guid)

    def _leave(self, actor: Actor) -> None:
        self.actors.remove(actor)
        actor.client.disconnect()
        for file in list(actor.files):
            # While the server closes what it had, another connection of the client may still be told of its leases.
            self.given_up.add((actor.guid, file.lease))
            actor.forget(file)

    async def _catch_up(self) -> None:
        """Let everybody read what has come, and do what is due, until nobody has anything to do."""
        busy = True
        while busy:
            await self.loop.settle()
            for actor in self.actors:
                actor.do_duties()
            busy = self._take_all_mail()
        self.given_up.clear()
        now = self.loop.time()
        for holding in self._holdings():
            if holding.is_lost_by(now):
                holding.lost(0)

    def _take_all_mail(self) -> bool:
        taken = False
        while self.actors:
            first = min(self.actors, key=lambda actor: actor.client.next_mail())
            if first.client.next_mail() == inf:
                break
            first.take_mail()
            taken = True
        return taken

    def _holdings(self) -> list[Holding]:
        oplocks = [file.oplock for _, file in self.open_files() if file.oplock is not None]
        return [*oplocks, *(lease for leases in self.leases.values() for lease in leases.values())]

    async def _end(self) -> None:
        """Nobody begins anything more: what was begun must come to its end."""
        for _ in range(4):
            await asyncio.sleep(caching.BREAK_SECONDS)
            await self._catch_up()
            self.check()
        for actor in self.actors:
            kinds = {asked.kind for asked in actor.asked.values()} - {"watch", "wait for lock"}
            self.expect(f"what {actor.name} still waits for", kinds, set())
        for number, actor in enumerate(list(self.actors)):
            if number % 2:
                for file in list(actor.files):
                    actor.close_file(file)
            else:
                self._leave(actor)
            await self._catch_up()
            self.check()
        for actor in list(self.actors):
            self.expect(f"what {actor.name} was never told", list(actor.asked.values()), [])
            self._leave(actor)
        await self._catch_up()
        self._check_nothing_is_left()

    # -- promises ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must always be true."""
        records = self.records()
        for key, record in records.items():
            self._check_grants(key, record)
            self._check_locks(key, record)
        self._check_waiting(records)
        known = sum(len(leases) for leases in self.leases.values())
        self.expect("leases in the server's table", len(self.server.volume.leases), known)
        opens = sum(len(record.opens) for key, record in records.items())
        self.expect("opens in the registry", opens, len(self.open_files()) + self._roots(records))

    def _roots(self, records: dict[FileKey, FileRecord]) -> int:
        mine = {self._open(file.file_id[1]).nt.owner for _, file in self.open_files()}  # type: ignore[union-attr]
        return sum(1 for record in records.values() for entry in record.opens if entry.owner not in mine)

    def _check_grants(self, key: FileKey, record: FileRecord) -> None:
        now = self.loop.time()
        held = [grant for grant in record.grants if grant.state]
        if any(grant.state & caching.WRITE_CACHING for grant in held):
            self.expect(f"who caches beside who caches writes of {key}", len(held), 1)
        for grant in record.grants:
            if grant.breaking_to == STABLE:
                self.expect(f"who waits for a break of {key} that is over", grant.waiters, ())
            elif not now < grant.deadline <= now + caching.BREAK_SECONDS:
                self.fail(f"when the answer is due for {key}", grant.deadline, f"after {now}")
        believed = sorted([(rights(h.rights), h.owed is not None) for h in self._beliefs(key) if h.rights])
        granted = sorted((rights(grant.state), grant.breaking_to != STABLE) for grant in held)
        self.expect(f"what clients think they cache of {key}", believed, granted)

    def check_nobody_reads_from_memory(self, writer: Actor, file: OpenFile) -> None:
        """The file has changed: who had cached reads of it has been told, but for who wrote under the same lease."""
        own = writer.leases.get(file.lease)
        for holding in self._beliefs(file.key):
            alone = holding is file.oplock and holding.rights & caching.WRITE_CACHING
            if (
                holding is not own
                and holding.owed is None
                and holding.rights
                and not (holding is file.oplock and alone)
            ):
                self.fail(f"what somebody still caches of {file.key}", rights(holding.rights), "nothing")

    def check_nobody_lists_from_memory(self) -> None:
        """There is a new file: who had cached the listing has been told."""
        for leases in self.leases.values():
            holding = leases.get(FOLDER_KEY)
            if holding is not None and holding.owed is None:
                self.expect("what somebody still caches of the folder", rights(holding.rights), rights(0))

    def _beliefs(self, key: FileKey) -> list[Holding]:
        found: dict[int, Holding] = {}
        for actor, file in self.open_files():
            if file.key == key:
                holding = file.oplock if file.oplock is not None else actor.leases.get(file.lease)
                if holding is not None:
                    found[id(holding)] = holding
        return list(found.values())

    def _check_locks(self, key: FileKey, record: FileRecord) -> None:
        mine = [(file, lock) for _, file in self.open_files() if file.key == key for lock in file.locks]
        believed = sorted((lock.offset, lock.offset + lock.length, lock.exclusive) for _, lock in mine)
        self.expect(
            f"the locks of {key}", sorted((lock.offset, lock.end, lock.exclusive) for lock in record.locks), believed
        )
        for (one, first), (two, second) in itertools.combinations(mine, 2):
            overlap = first.offset < second.offset + second.length and second.offset < first.offset + first.length
            if overlap and one is not two and (first.exclusive or second.exclusive):
                self.fail(f"two locks in each other's way on {key}", first, second)

    def _check_waiting(self, records: dict[FileKey, FileRecord]) -> None:
        asked = [each for actor in self.actors for each in actor.asked.values()]
        parked = sum(len(connection.parked) for connection in self.server.core.connections)
        self.expect("requests that wait in the server", parked, len(asked))
        waiters = {waiter for record in records.values() for grant in record.grants for waiter in grant.waiters}
        for_breaks = [each.kind for each in asked if each.kind in _WAITS_FOR_BREAKS]
        self.expect("who waits for a break", len(waiters), len(for_breaks))
        for_locks = [each for each in asked if each.kind == "wait for lock"]
        self.expect("who waits for a lock", sum(len(record.waiters) for record in records.values()), len(for_locks))

    def _check_nothing_is_left(self) -> None:
        core, volume = self.server.core, self.server.volume
        counts = {kind: count for kind, count in core.counts().items() if kind != "idle_greenlets"}
        self.expect("what is left", set(counts.values()), {0})
        self.expect("leases that are left", len(volume.leases), 0)
        self.expect("files that are left open", volume.open_count(), 0)
        self.expect("records that are left", self.records(), {})
        self.expect("who is still listened for", len(self.server.runtime.registry._callbacks), 0)  # type: ignore[attr-defined]


def _in_the_way(lock: LockRange, owner: OpenFile, wanted: LockRange, file: OpenFile, writing: bool) -> bool:
    overlaps = lock.offset < wanted.offset + wanted.length and wanted.offset < lock.offset + lock.length
    mine = owner is file and lock.exclusive
    return owner.key == file.key and overlaps and (lock.exclusive or writing) and not mine


async def _simulate(seed: int, steps: int) -> Simulation:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    # Here all changes are made by clients, so that directories may be leased.
    with clocks_of_ntfsa(loop), patch.object(grant_holders, "may_lease_directories", lambda volume: True):
        server = await MemoryServer.start(loop)
        try:
            simulation = Simulation(seed, server)
            await simulation.run(steps)
        finally:
            await server.close()
    return simulation


def simulate(seed: int, steps: int) -> Simulation:
    """One run. Raises BrokenPromiseError."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_simulate(seed, steps))
