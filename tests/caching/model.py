"""One open file as the specification has it, with all that is clever left out: letters, lists and loops.

It is what the rules of ntfsa are compared with, so it shares nothing with them. What an operation takes is looked up
in the table of `specified_breaks`; what is granted is MS-FSA 2.1.5.18 with the tables of Windows; what an answer comes
to is MS-FSA 2.1.5.19 with MS-SMB2 3.3.5.22; sharing is MS-FSA 2.1.5.1.2.2.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Final

from tests.support.specified_breaks import WHAT_IS_LEFT

SECONDS: Final = 35.0
"""How long an answer may take."""

LOOKING: Final = frozenset({"attributes"})
LOOKING_CLOSER: Final = frozenset({"attributes", "descriptor"})
SHARED: Final = frozenset({"read", "write", "delete"})
LEVELS: Final = {"none": "", "II": "R", "exclusive": "RW", "batch": "RWH"}
LEASES: Final = ("", "R", "RH", "RW", "RWH")

Told = tuple[str, int, str, str, int, float]
"""("told", address, rights, rights it is to keep, epoch, until when it must answer)."""
Ended = tuple[str, int]
"""("ended", waiter)."""
Said = list[Told | Ended]


@dataclass
class Holding:
    """Rights that somebody has: an oplock with one open, or a lease (`key`) with those that share it."""

    key: str
    opens: list[int]
    address: int
    rights: str
    epoch: int = 0
    offered: str | None = None
    """What it may keep, where its answer is awaited."""
    final: str = ""
    due: float = 0.0
    waiting: list[int] = field(default_factory=list)

    @property
    def holder(self) -> str | None:
        """Its column in the table."""
        if self.key:
            return f"lease {self.rights}" if self.rights else None
        return {"R": "II", "RW": "exclusive", "RWH": "batch"}[self.rights]


@dataclass
class ModelOpen:
    """An open: what it may do, and what it lets others do."""

    access: frozenset[str]
    share: frozenset[str]
    deletes: bool


class ModelFile:
    """The file. Every method that tells somebody something appends it to `said`."""

    def __init__(self) -> None:
        self.opens: dict[int, ModelOpen] = {}
        self.holdings: list[Holding] = []
        self.locked_from = inf
        """Where the first lock begins."""
        self.deleted = False
        self.said: Said = []

    # -- opens ---------------------------------------------------------------------------------------------------

    def open(self, owner: int, wanted: ModelOpen, overwrites: bool, lease: str, now: float) -> str:
        """SUCCESS, SHARING_VIOLATION, DELETE_PENDING, or PENDING."""
        if self.deleted:
            return "DELETE_PENDING"
        access = wanted.access | ({"write"} if overwrites else set())
        seen = not access <= LOOKING_CLOSER
        if not access <= LOOKING:
            steps = ("OVERWRITE_BATCH", "OVERWRITE") if overwrites else ("OPEN_BATCH", "OPEN")
            if self.breaks(steps[0], owner, lease, now, waiter=owner, seen_by_leases=seen):
                return "PENDING"
            if self._in_conflict(access, wanted.share):
                waits = self.breaks("SHARING_CONFLICT", owner, lease, now, waiter=owner, seen_by_leases=seen)
                return "PENDING" if waits else "SHARING_VIOLATION"
            if self.breaks(steps[1], owner, lease, now, waiter=owner, seen_by_leases=seen):
                return "PENDING"
        self.opens[owner] = wanted
        return "SUCCESS"

    def _in_conflict(self, access: frozenset[str], share: frozenset[str]) -> bool:
        for other in self.opens.values():
            theirs, ours = other.access & SHARED, access & SHARED
            if theirs and ours and (ours - other.share or theirs - share):
                return True
        return False

    def close(self, owner: int) -> bool:
        """Whether it was the last of a file that is to be deleted."""
        gone = self.opens.pop(owner)
        self.deleted = self.deleted or gone.deletes
        for holding in list(self.holdings):
            if owner in holding.opens:
                holding.opens.remove(owner)
                if not holding.opens:
                    self._end(holding)
                    self.holdings.remove(holding)
        deletes = self.deleted and not self.opens
        if not self.opens:
            self.deleted = False
            self.locked_from = inf
        return deletes

    # -- granting ------------------------------------------------------------------------------------------------

    def grant_oplock(self, owner: int, level: str, address: int) -> str:
        """The level that the open gets."""
        others = [open_ for other, open_ in self.opens.items() if other != owner]
        alone = not self._caching("") and all(open_.access <= LOOKING for open_ in others)
        if level != "none" and not (alone and level in {"exclusive", "batch"}):
            level = "II"
            if self.locked_from < inf or any(holding.rights in {"RH", "RW", "RWH"} for holding in self.holdings):
                level = "none"
        if level != "none":
            self.holdings.append(Holding("", [owner], address, LEVELS[level]))
        return level

    def grant_lease(
        self, owner: int, key: str, asked: str, epoch: int, address: int, end_of_file: int
    ) -> tuple[str, int, bool]:
        """The rights that the lease is now, its epoch, and whether it breaks."""
        lease = next((holding for holding in self.holdings if holding.key == key), None)
        sharing = [owner] if lease is None else [*lease.opens, owner]
        can_have = self._lease_beside_others(key, asked, sharing, end_of_file)
        if lease is None:
            lease = Holding(key, sharing, address, can_have, epoch + 1 if can_have else epoch)
            self.holdings.append(lease)
        else:
            lease.opens = sharing
            grows = set(can_have) > set(lease.rights)
            if lease.offered is None and grows and can_have == asked:
                lease.rights = can_have
                lease.epoch += 1
        return lease.rights, lease.epoch, lease.offered is not None

    def _lease_beside_others(self, key: str, asked: str, sharing: list[int], end_of_file: int) -> str:
        others = self._caching(key)
        opens = [open_ for owner, open_ in self.opens.items() if owner not in sharing]
        if any("W" in holding.rights for holding in others):
            return ""
        if others or any(not open_.access <= LOOKING_CLOSER for open_ in opens):
            asked = asked.replace("W", "")
        if any(not holding.key for holding in others):
            asked = asked.replace("H", "")
        return "" if self.locked_from < end_of_file and "W" not in asked else asked

    def _caching(self, but: str) -> list[Holding]:
        return [holding for holding in self.holdings if holding.rights and not (but and holding.key == but)]

    # -- breaking ------------------------------------------------------------------------------------------------

    def breaks(
        self, operation: str, owner: int, lease: str, now: float, *, waiter: int = 0, seen_by_leases: bool = True
    ) -> bool:
        """Do what an operation does to the grants of others; whether `waiter` has to wait for it. 0 never waits."""
        broken = [h for h in self.holdings if self._is_broken_by(h, operation, owner, lease, seen_by_leases)]
        has_to_wait = False
        for holding in list(self.holdings if waiter or broken else ()):
            if holding.offered is not None and holding.due <= now:
                self._lose_all(holding)
            elif holding in broken:
                has_to_wait |= self._break(holding, operation, waiter, now)
        return has_to_wait

    def break_one(self, operation: str, key: str, now: float) -> None:
        """Do what an operation does to one lease."""
        for holding in self.holdings:
            if holding.key == key and holding.holder and WHAT_IS_LEFT[operation][holding.holder]:
                self._break(holding, operation, 0, now)

    @staticmethod
    def _is_broken_by(holding: Holding, operation: str, owner: int, lease: str, seen_by_leases: bool) -> bool:
        if holding.holder is None or WHAT_IS_LEFT[operation][holding.holder] is None:
            return False
        if holding.key:
            return seen_by_leases and holding.key != lease
        own = owner in holding.opens
        return not own or (holding.rights == "R" and operation in {"CHANGE_DATA", "LOCK"})

    def _break(self, holding: Holding, operation: str, waiter: int, now: float) -> bool:
        verdict = WHAT_IS_LEFT[operation][str(holding.holder)]
        assert verdict is not None
        if holding.offered is not None:
            holding.final = "".join(right for right in holding.final if right in verdict.left)
        elif verdict.answered:
            holding.offered = holding.final = verdict.left
            holding.due = now + SECONDS
            holding.epoch += 1
            self._tell(holding, verdict.left, holding.due)
        else:
            holding.epoch += 1
            self._tell(holding, verdict.left, 0.0)
            self._keep(holding, verdict.left)
        if verdict.waits and waiter:
            holding.waiting = sorted({*holding.waiting, waiter})
            return True
        return False

    def _tell(self, holding: Holding, left: str, due: float) -> None:
        self.said.append(("told", holding.address, holding.rights, left, holding.epoch, due))

    def _keep(self, holding: Holding, rights: str) -> None:
        holding.rights = rights
        if not rights and not holding.key:
            self.holdings.remove(holding)

    def _end(self, holding: Holding) -> None:
        holding.offered, holding.final, holding.due = None, "", 0.0
        for waiter in holding.waiting:
            self.said.append(("ended", waiter))
        holding.waiting = []

    def _lose_all(self, holding: Holding) -> None:
        self._end(holding)
        self._keep(holding, "")

    # -- answers and time ----------------------------------------------------------------------------------------

    def answer_oplock(self, owner: int, level: str, now: float) -> tuple[str, str]:
        """The status of the answer, and the rights that are held now."""
        oplock = next((holding for holding in self.holdings if not holding.key and owner in holding.opens), None)
        if oplock is None:
            return "INVALID_OPLOCK_PROTOCOL", ""
        if oplock.offered is None:
            return "INVALID_DEVICE_STATE", oplock.rights
        kept = oplock.offered if level == "II" else ""
        status = {"II": "SUCCESS", "none": "SUCCESS", "lease": "INVALID_PARAMETER"}.get(
            level, "INVALID_OPLOCK_PROTOCOL"
        )
        self._go_on(oplock, kept, now)
        return status, kept

    def answer_lease(self, key: str, kept: str, now: float) -> tuple[str, str]:
        """The status of the answer, and the rights that are held now."""
        lease = next((holding for holding in self.holdings if holding.key == key), None)
        if lease is None:
            return "OBJECT_NAME_NOT_FOUND", ""
        if lease.offered is None:
            return "UNSUCCESSFUL", lease.rights
        if set(kept) - set(lease.offered):
            return "REQUEST_NOT_ACCEPTED", lease.rights
        kept = kept if kept in LEASES else ""
        self._go_on(lease, kept, now)
        return "SUCCESS", kept

    def _go_on(self, holding: Holding, kept: str, now: float) -> None:
        final = "".join(right for right in holding.final if right in kept)
        holding.rights, holding.final = kept, final
        if set(kept) - set(final) - {"R"}:
            # Writes and handles first, reads after them.
            holding.offered = "R" + final.replace("R", "")
            holding.due = now + SECONDS
            self._tell(holding, holding.offered, holding.due)
            return
        if kept != final:
            holding.due = 0.0
            self.said.append(("told", holding.address, kept, final, holding.epoch, 0.0))
        self._end(holding)
        self._keep(holding, final)

    def time_passes(self, now: float) -> None:
        """Who has not answered in time has lost everything."""
        for holding in list(self.holdings):
            if holding.offered is not None and holding.due <= now:
                self._lose_all(holding)

    def stop_waiting(self, waiter: int) -> None:
        """Somebody has given up."""
        for holding in self.holdings:
            holding.waiting = [each for each in holding.waiting if each != waiter]
