"""The sequence window of a connection: which message ids a client may use (MS-SMB2 3.3.1.1, 3.3.1.2, 3.3.5.2.3)."""


class CreditWindow:
    """Message ids from `low` up to `high` (exclusive) are granted; those in `_used` above `low` were spent early."""

    __slots__ = ("_used", "high", "limit", "low")

    def __init__(self, limit: int) -> None:
        """`limit`: how many credits a client may hold at a time."""
        self.low = 0
        self.high = 1
        self.limit = limit
        self._used: set[int] = set()

    def consume(self, message_id: int, charge: int) -> bool:
        """Spend `charge` ids from `message_id` on; False if one of them is not the client's to use."""
        end = message_id + charge
        if message_id < self.low or end > self.high:
            return False
        used = self._used
        if message_id == self.low and not used:
            self.low = end
            return True
        ids = range(message_id, end)
        if not used.isdisjoint(ids):
            return False
        used.update(ids)
        while self.low in used:
            used.remove(self.low)
            self.low += 1
        return True

    def grant(self, requested: int) -> int:
        """Grant up to `requested` credits (at least one is tried); the number granted."""
        granted = requested or 1
        free = self.limit - self.high + self.low
        if granted > free:
            granted = max(free, 0)
        self.high += granted
        return granted
