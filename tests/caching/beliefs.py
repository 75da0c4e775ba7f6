"""What clients believe they may cache and have locked, from nothing but the messages that came to them.

It must at every moment be what the server has in its records: a client that believes more would show old data or lose
new, one that believes less would be asked for what it never had.
"""

from dataclasses import dataclass, field

from lamina.ntfsa.record import LockRange


@dataclass
class Holding:
    """An oplock, or a lease of all the connections of a client. `owed`: what it was asked to come down to."""

    rights: int
    epoch: int = 0
    opens: int = 1
    owed: int | None = None
    due: float = 0.0
    answer_at: float = float("inf")
    """When the client means to answer, which may be never."""

    def asked(self, to: int, due: float, answer_at: float) -> None:
        """A break whose answer is awaited."""
        self.owed, self.due, self.answer_at = to, due, answer_at

    def lost(self, to: int) -> None:
        """A break that needs no answer, or is over."""
        self.rights, self.owed = to, None

    def is_lost_by(self, now: float) -> bool:
        """Whether the server waits no longer."""
        return self.owed is not None and self.due <= now


@dataclass
class OpenFile:
    """A file that a client has open."""

    file_id: tuple[int, int]
    key: tuple[int, int, str]
    """The file itself, whatever its name: as the server knows it."""
    access: int
    oplock: Holding | None = None
    lease: bytes = b""
    locks: list[LockRange] = field(default_factory=list)
    closing: bool = False


@dataclass
class Asked:
    """A request that has no final response yet. `details` are the request's own."""

    kind: str
    file: OpenFile | None
    details: tuple[object, ...] = ()
    async_id: int = 0
    cancelled: bool = False
