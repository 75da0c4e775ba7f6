"""Random histories of one file, done by the rules of ntfsa and by the model, and compared after each step.

`run(seed, steps)` raises `DifferenceError` with the seed and what was done last. Byte-range locks are held against what
must be true of them: see `LockBook`.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants import caching
from lamina.ntfsa.grants.admission import Opening, admit
from lamina.ntfsa.grants.breaking import (
    BREAK_ENDED,
    GRANT_BROKEN,
    Break,
    acknowledge_lease,
    acknowledge_oplock,
    break_and_wait,
    break_now,
    break_one,
    end_overdue,
    stop_waiting,
)
from lamina.ntfsa.grants.granting import LeaseWish, grant_lease, grant_oplock
from lamina.ntfsa.locks import byte_range
from lamina.ntfsa.opening.sharing import close_file
from lamina.ntfsa.record import (
    EMPTY_RECORD,
    LOCK_GRANTED,
    OPEN_DELETE_ON_CLOSE,
    STABLE,
    FileRecord,
    LockRange,
    Outcome,
)
from lamina.ntfsa.status import NtStatus
from tests.caching.lock_book import LockBook
from tests.caching.model import LEASES, LEVELS, SHARED, ModelFile, ModelOpen
from tests.support.granted import rights

ACCESS: Final = {
    "attributes": c.FILE_READ_ATTRIBUTES,
    "descriptor": c.READ_CONTROL,
    "read": c.FILE_READ_DATA,
    "write": c.FILE_WRITE_DATA,
    "delete": c.DELETE,
}
SHARE: Final = {"read": c.FILE_SHARE_READ, "write": c.FILE_SHARE_WRITE, "delete": c.FILE_SHARE_DELETE}
LEVEL: Final = {
    "none": caching.OPLOCK_LEVEL_NONE,
    "II": caching.OPLOCK_LEVEL_II,
    "exclusive": caching.OPLOCK_LEVEL_EXCLUSIVE,
    "batch": caching.OPLOCK_LEVEL_BATCH,
    "lease": caching.OPLOCK_LEVEL_LEASE,
}
STATE: Final = {rights(state).strip("-"): state for state in range(8)} | {"RWH": 7}
KEYS: Final = ("ann", "bob", "cyd", "dan")
WAITING_OPERATIONS: Final = ("CHANGE_NAME", "CHANGE_SECURITY", "OUTSIDE_OPEN")
PASSING_OPERATIONS: Final = ("CLOSE_DELETING", "CHANGE_ENTRY")
MAX_OPENS: Final = 12


class DifferenceError(AssertionError):
    """The rules and the model have parted."""


class Pending(NamedTuple):
    """Somebody waits for a break, and will then ask again."""

    again: Callable[[], None]


class History:
    """The file twice: as a record under the rules, and as the model."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.record: FileRecord = EMPTY_RECORD
        self.model = ModelFile()
        self.locks = LockBook()
        self.now = 1000.0
        self.numbers = 0
        self.lease_of: dict[int, str] = {}
        self.pending: dict[int, Pending] = {}
        self.log: deque[str] = deque(maxlen=40)
        self._told: list[Any] = []
        self._woken: deque[int] = deque()

    # -- doing it twice ------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A number that nobody has."""
        self.numbers += 1
        return self.numbers

    def note(self, *words: object) -> None:
        """Say what is done, for whoever has to find out what went wrong."""
        self.log.append(f"{self.now:8.1f} " + " ".join(map(str, words)))

    def rule(self, function: Callable[..., Outcome[Any]], *args: Any) -> Any:
        """Run a rule on the record; what it tells is remembered, or done."""
        outcome = function(self.record, *args)
        self.record = outcome.record
        for message in outcome.messages:
            if message.kind == BREAK_ENDED:
                self._told.append(("ended", message.owner))
                self._woken.append(message.owner)
            elif message.kind == GRANT_BROKEN:
                state, to, epoch, due = message.detail
                self._told.append(("told", message.owner, letters(state), letters(to), epoch, due))
            else:
                self._lock_granted(message.kind, message.owner, message.detail[0])
        return outcome.result

    def _lock_granted(self, kind: str, owner: int, ticket: int) -> None:
        self.expect("a lock is granted", kind, LOCK_GRANTED)
        waiting = [each for each in self.locks.waiting if each[:2] == (owner, ticket)]
        self.expect("a lock is granted to one who waits", len(waiting), 1)
        if not self.locks.is_free(owner, waiting[0][2]):
            self.differs("a lock was granted over another", waiting[0], self.locks.held)
        self.locks.waiting.remove(waiting[0])
        self.locks.held.append((owner, waiting[0][2]))
        self.model.locked_from = self.locks.first()

    def expect(self, what: str, is_: object, should_be: object) -> None:
        """Raise `DifferenceError` where the rules say one thing and the model another."""
        if is_ != should_be:
            self.differs(what, is_, should_be)

    def differs(self, what: str, is_: object, should_be: object) -> None:
        """Raise `DifferenceError`."""
        story = "\n".join(self.log)
        raise DifferenceError(f"seed {self.seed}: {what}\n  rules: {is_}\n  model: {should_be}\n{story}")

    def compare(self) -> None:
        """Everything must be the same."""
        told, self._told = self._told, []
        said, self.model.said = self.model.said, []
        self.expect("what was told", told, said)
        grants = [
            (
                g.lease.decode(),
                list(g.owners),
                letters(g.state),
                g.epoch if g.lease else 0,
                None if g.breaking_to == STABLE else letters(g.breaking_to),
                letters(g.required),
                g.deadline,
                list(g.waiters),
            )
            for g in self.record.grants
        ]
        holdings = [
            (h.key, h.opens, h.rights, h.epoch if h.key else 0, h.offered, h.final, h.due, h.waiting)
            for h in self.model.holdings
        ]
        self.expect("the grants", grants, holdings)
        self.expect("the opens", [entry.owner for entry in self.record.opens], sorted(self.model.opens))
        held = sorted((lock.owner, lock.offset, lock.end, lock.exclusive) for lock in self.record.locks)
        book = sorted((owner, r.offset, r.offset + r.length, r.exclusive) for owner, r in self.locks.held)
        self.expect("the locks", held, book)
        self.expect("who waits for locks", [w.ticket for w in self.record.waiters], [w[1] for w in self.locks.waiting])
        self.expect("who waits in vain for a lock", self.locks.waits_in_vain(), None)
        waiting = {waiter for grant in self.record.grants for waiter in grant.waiters}
        self.expect("who waits for breaks", waiting | set(self._woken), set(self.pending) | set(self._woken))
        self._check_nobody_caches_what_others_change()

    def _check_nobody_caches_what_others_change(self) -> None:
        writers = [grant for grant in self.record.grants if grant.state & caching.WRITE_CACHING]
        caching_too = [grant for grant in self.record.grants if grant.state]
        self.expect("who caches writes is alone", bool(writers) and len(caching_too) > 1, False)

    def step(self) -> None:
        """Do something, and all that follows from it."""
        self.random.choices(self._ACTIONS, self._WEIGHTS)[0](self)
        self.compare()
        while self._woken:
            waiter = self._woken.popleft()
            again = self.pending.pop(waiter, None)
            if again is not None:
                self._stop_waiting(waiter)
                again.again()
                self.compare()

    # -- what can be done ----------------------------------------------------------------------------------------

    def open_file(self) -> None:
        """Somebody opens the file, with a lease, an oplock, or neither."""
        if len(self.record.opens) + len(self.pending) >= MAX_OPENS:
            self.close()
            return
        pick = self.random
        access = frozenset(
            pick.choice(
                [
                    ["attributes"],
                    ["descriptor"],
                    ["read"],
                    ["read"],
                    ["read", "write"],
                    ["read", "write", "delete"],
                    ["write"],
                    ["delete"],
                ]
            )
        )
        share = SHARED if pick.random() < 0.7 else frozenset(pick.sample(sorted(SHARED), pick.randint(0, 2)))
        wanted = ModelOpen(access, share, "delete" in access and pick.random() < 0.2)
        overwrites = pick.random() < 0.15
        lease = pick.choice(KEYS) if pick.random() < 0.6 else ""
        asked = pick.choice(["R", "RH", "RW", "RWH", "RWH", "", "H", "W", "WH"]) if lease else pick.choice(list(LEVELS))
        self._enter(self.number(), wanted, overwrites, lease, asked)

    def _enter(self, owner: int, wanted: ModelOpen, overwrites: bool, lease: str, asked: str) -> None:
        self.note(owner, "opens", sorted(wanted.access), sorted(wanted.share), "overwrites" * overwrites, lease, asked)
        granted = sum(ACCESS[name] for name in wanted.access)
        share = sum(SHARE[name] for name in wanted.share)
        flags = OPEN_DELETE_ON_CLOSE if wanted.deletes else 0
        implied = c.FILE_WRITE_DATA if overwrites else 0
        opening = Opening(owner, granted, share, flags, implied, lease.encode())
        status = self.rule(admit, opening, self.now).status.name
        self.expect("the open", status, self.model.open(owner, wanted, overwrites, lease, self.now))
        if status == "PENDING":
            self.pending[owner] = Pending(lambda: self._enter(owner, wanted, overwrites, lease, asked))
        elif status == "SUCCESS":
            self._grant(owner, lease, asked)

    def _grant(self, owner: int, lease: str, asked: str) -> None:
        address = self.number()
        if not lease:
            level = self.rule(grant_oplock, owner, address, LEVEL[asked])
            self.expect("the oplock", level, LEVEL[self.model.grant_oplock(owner, asked, address)])
            return
        self.lease_of[owner] = lease
        epoch, end_of_file = self.random.randrange(100), self.random.choice([0, 6, 1 << 64])
        wish = LeaseWish(lease.encode(), STATE[asked], epoch, end_of_file=end_of_file)
        state, count, breaking = self.rule(grant_lease, owner, address, wish)
        possible = asked if asked in LEASES else ""
        granted = self.model.grant_lease(owner, lease, possible, epoch, address, end_of_file)
        self.expect("the lease", (letters(state), count, breaking), granted)

    def _any_open(self) -> int | None:
        owners = [entry.owner for entry in self.record.opens]
        return self.random.choice(owners) if owners else None

    def close(self) -> None:
        """Somebody closes the file."""
        owner = self._any_open()
        if owner is None:
            return
        self.note(owner, "closes")
        self.locks.leave(owner)
        self.model.locked_from = self.locks.first()
        deletes = self.rule(close_file, owner).delete
        self.expect("whether the close deletes", deletes, self.model.close(owner))
        self.lease_of.pop(owner, None)
        if not self.record.opens:
            self.locks = LockBook()

    def answer(self) -> None:
        """A holder answers a break as it should, or as it likes."""
        grants = [g for g in self.record.grants if g.breaking_to != STABLE] or list(self.record.grants)
        if not grants:
            return
        grant = self.random.choice(grants)
        obeys = self.random.random() < 0.7
        if grant.lease:
            state = grant.breaking_to if obeys and grant.breaking_to != STABLE else self.random.randrange(8)
            self.note(grant.lease, "keeps", letters(state))
            result = self.rule(acknowledge_lease, grant.lease, state, self.now)
            answer = self.model.answer_lease(grant.lease.decode(), letters(state), self.now)
        else:
            level = "II" if obeys else self.random.choice(list(LEVEL))
            self.note(grant.owners, "keeps", level)
            result = self.rule(acknowledge_oplock, grant.owners[0], LEVEL[level], self.now)
            answer = self.model.answer_oplock(grant.owners[0], level, self.now)
        self.expect("the answer", (result.status.name, letters(result.state)), answer)

    def answer_nothing(self) -> None:
        """Somebody answers what nobody asked."""
        self.note("somebody answers for nothing")
        result = self.rule(acknowledge_lease, b"eve", 1, self.now)
        self.expect("the answer", result.status.name, self.model.answer_lease("eve", "R", self.now)[0])
        owner = self._any_open() or 0
        oplock = self.rule(acknowledge_oplock, owner, LEVEL["none"], self.now)
        answer = self.model.answer_oplock(owner, "none", self.now)
        self.expect("the answer", (oplock.status.name, letters(oplock.state)), answer)

    def change_and_wait(self) -> None:
        """Somebody renames, secures or opens beside us, and waits for whom that concerns."""
        owner = self._any_open()
        if owner is not None:
            operation = self.random.choice(WAITING_OPERATIONS)
            self._change(operation, 0 if operation == "OUTSIDE_OPEN" else owner, self.number())

    def _change(self, operation: str, owner: int, waiter: int) -> None:
        lease = self.lease_of.get(owner, "")
        self.note(owner, operation, "waiter", waiter)
        wanted = Break(getattr(caching, operation), owner, lease.encode(), waiter, self.now)
        waits = self.rule(break_and_wait, wanted) is not None
        self.expect("whether it waits", waits, self.model.breaks(operation, owner, lease, self.now, waiter=waiter))
        if waits:
            self.pending[waiter] = Pending(lambda: self._change(operation, owner, waiter))

    def change_and_go_on(self) -> None:
        """Somebody closes what it deletes, or changes an entry of a directory."""
        owner = self._any_open()
        if owner is not None:
            self._pass(self.random.choice(PASSING_OPERATIONS), owner)

    def _pass(self, operation: str, owner: int) -> None:
        lease = self.lease_of.get(owner, "")
        self.note(owner, operation)
        self.rule(break_now, getattr(caching, operation), owner, lease.encode(), self.now)
        self.model.breaks(operation, owner, lease, self.now)

    def change_entry(self) -> None:
        """Something in a leased directory changes, as its watcher has seen."""
        key = self.random.choice(KEYS)
        self.note("the entry changes for", key)
        self.rule(break_one, key.encode(), caching.CHANGE_ENTRY, self.now)
        self.model.break_one("CHANGE_ENTRY", key, self.now)

    def _some_range(self) -> LockRange:
        return LockRange(self.random.randrange(12), self.random.randrange(6), self.random.random() < 0.5)

    def write(self) -> None:
        """Somebody writes, or is refused to."""
        owner = self._any_open()
        if owner is None:
            return
        where = self._some_range()
        refused = byte_range.write_conflict(self.record, owner, where.offset, where.length)
        self.expect("whether writing is refused", refused, not self.locks.may_write(owner, where))
        if not refused:
            self._pass("CHANGE_DATA", owner)

    def lock(self) -> None:
        """Somebody locks a range, and waits for it or not."""
        owner = self._any_open()
        if owner is None:
            return
        wanted = self._some_range()
        ticket = self.number() if self.random.random() < 0.5 else None
        self._pass("LOCK", owner)
        self.note(owner, "locks", tuple(wanted), "ticket", ticket)
        status = self.rule(byte_range.lock, owner, (wanted,), ticket)
        free = self.locks.is_free(owner, wanted)
        if ticket is None:
            self.expect("the lock", status, NtStatus.SUCCESS if free else NtStatus.LOCK_NOT_GRANTED)
        elif not free:
            self.expect("the lock", status, NtStatus.PENDING)
        if status is NtStatus.SUCCESS:
            self.locks.held.append((owner, wanted))
        elif ticket is not None:
            self.locks.waiting.append((owner, ticket, wanted))
        self.model.locked_from = self.locks.first()

    def unlock(self) -> None:
        """Somebody lets go of a lock, or of what it has not locked."""
        if self.locks.held and self.random.random() < 0.8:
            owner, held = self.random.choice(self.locks.held)
        else:
            owner, held = self._any_open() or 0, self._some_range()
        ours = [r for holder, r in self.locks.held if holder == owner and r[:2] == held[:2]]
        gone = max(ours, key=lambda lock: lock.exclusive, default=None)
        self.note(owner, "unlocks", tuple(held))
        if gone is not None:
            self.locks.held.remove((owner, gone))
        status = self.rule(byte_range.unlock, owner, held.offset, held.length)
        self.expect("the unlock", status, NtStatus.RANGE_NOT_LOCKED if gone is None else NtStatus.SUCCESS)
        self.model.locked_from = self.locks.first()

    def cancel_lock(self) -> None:
        """Somebody waits no longer for a lock."""
        if self.locks.waiting:
            waiting = self.random.choice(self.locks.waiting)
            self.note(waiting[0], "waits no longer for lock", waiting[1])
            self.locks.waiting.remove(waiting)
            self.expect("the cancel", self.rule(byte_range.cancel_wait, waiting[0], waiting[1]), True)
            self.model.locked_from = self.locks.first()

    def cancel(self) -> None:
        """Somebody waits no longer for a break."""
        if self.pending:
            waiter = self.random.choice(sorted(self.pending))
            self.note(waiter, "waits no longer")
            del self.pending[waiter]
            self._stop_waiting(waiter)

    def _stop_waiting(self, waiter: int) -> None:
        self.rule(stop_waiting, waiter)
        self.model.stop_waiting(waiter)

    def let_time_pass(self) -> None:
        """Seconds go by, and those who had not more lose what they did not give up."""
        self.now += self.random.choice([0.5, 5.0, 20.0, 35.0])
        self.note("it is later")
        self.rule(end_overdue, self.now)
        self.model.time_passes(self.now)

    def lose_time(self) -> None:
        """Seconds go by, and the timer is late: whoever comes next finds out."""
        self.now += self.random.choice([5.0, 35.0])
        self.note("it is later, and nobody has looked")

    _ACTIONS = (
        open_file, close, answer, answer_nothing, change_and_wait, change_and_go_on, write, lock, unlock, cancel_lock,
        cancel, let_time_pass, lose_time, change_entry,
    )  # fmt: skip
    _WEIGHTS = (30, 14, 24, 1, 6, 2, 5, 6, 5, 1, 2, 4, 1, 1)


def letters(state: int) -> str:
    """The rights as the model writes them."""
    return "" if state == STABLE else rights(state).strip("-")


def run(seed: int, steps: int) -> History:
    """One history. Raises `DifferenceError`."""
    history = History(seed)
    for _ in range(steps):
        history.step()
    return history
