"""What must be true of the byte-range locks of one file, whoever grants them in which order (MS-FSA 2.1.5.8)."""

from math import inf

from lamina.ntfsa.record import LockRange


class LockBook:
    """The locks that are held, and who waits for one.

    No two locks of different opens are in each other's way; what was granted is held until it is let go of; a request
    that may not wait is granted exactly if nothing is in its way; nobody waits whom neither a lock nor somebody who
    has waited longer is in the way of.
    """

    def __init__(self) -> None:
        self.held: list[tuple[int, LockRange]] = []
        self.waiting: list[tuple[int, int, LockRange]] = []

    @staticmethod
    def _overlap(one: LockRange, other: LockRange) -> bool:
        return one.offset < other.offset + other.length and other.offset < one.offset + one.length

    def is_free(self, owner: int, wanted: LockRange) -> bool:
        """Whether no lock is in the way: exclusive is alone, shared beside shared and beside one's own exclusive."""
        for holder, lock in self.held:
            if self._overlap(lock, wanted) and (wanted.exclusive or (lock.exclusive and holder != owner)):
                return False
        return True

    def may_write(self, owner: int, wanted: LockRange) -> bool:
        """Whether writing there is not refused."""
        return not any(
            self._overlap(lock, wanted) and not (lock.exclusive and holder == owner) for holder, lock in self.held
        )

    def waits_in_vain(self) -> tuple[int, int, LockRange] | None:
        """Somebody who waits though nothing is in the way."""
        for index, (owner, ticket, wanted) in enumerate(self.waiting):
            longer = [other for holder, _, other in self.waiting[:index] if holder != owner]
            behind = any(self._overlap(other, wanted) and (other.exclusive or wanted.exclusive) for other in longer)
            if not behind and self.is_free(owner, wanted):
                return owner, ticket, wanted
        return None

    def first(self) -> float:
        """Where the first lock begins; infinity where there is none."""
        return min((lock.offset for _, lock in self.held), default=inf)

    def leave(self, owner: int) -> None:
        """An open closes."""
        self.held = [each for each in self.held if each[0] != owner]
        self.waiting = [each for each in self.waiting if each[0] != owner]
