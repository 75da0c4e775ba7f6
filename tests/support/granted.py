"""Records of files with caching grants, and what the tests of their rules say about them. For tests only."""

from collections.abc import Iterable

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants.admission import Opening, admit
from lamina.ntfsa.grants.breaking import GRANT_BROKEN
from lamina.ntfsa.grants.caching import (
    BREAK_SECONDS,
    HANDLE_CACHING,
    READ_CACHING,
    STATE_OF_LEVEL,
    WRITE_CACHING,
)
from lamina.ntfsa.grants.granting import LeaseWish, grant_lease, grant_oplock
from lamina.ntfsa.opening.sharing import open_file
from lamina.ntfsa.record import EMPTY_RECORD, FileRecord, Grant, Message

ALL = c.FILE_SHARE_ALL
READ = c.FILE_READ_DATA
WRITE = c.FILE_WRITE_DATA
LOOK = c.FILE_READ_ATTRIBUTES | c.FILE_WRITE_ATTRIBUTES | c.SYNCHRONIZE

R = READ_CACHING
RH = READ_CACHING | HANDLE_CACHING
RW = READ_CACHING | WRITE_CACHING
RWH = READ_CACHING | HANDLE_CACHING | WRITE_CACHING

NOW = 1000.0
LATE = NOW + BREAK_SECONDS
FIRST, SECOND, THIRD = 1, 2, 3
KEY, OTHER_KEY = b"client guid 16 b" + b"a lease key of 1", b"client guid 16 b" + b"another key of 1"


def address(owner: int) -> int:
    """Where messages about the grant that the open `owner` began go to."""
    return 100 + owner


def with_open(record: FileRecord, owner: int, access: int = READ | WRITE, share: int = ALL) -> FileRecord:
    """The record with one more open, which breaks nothing."""
    return open_file(record, owner, access, share, 0, True).record


def with_oplock(record: FileRecord, owner: int, level: int) -> FileRecord:
    """The record with an oplock of the open `owner`, which must be to be had."""
    outcome = grant_oplock(record, owner, address(owner), level)
    assert outcome.result == level
    return outcome.record


def with_lease(record: FileRecord, owner: int, state: int, lease: bytes = KEY, epoch: int = 0) -> FileRecord:
    """The record with a lease of the open `owner`, which must be to be had."""
    outcome = grant_lease(record, owner, address(owner), LeaseWish(lease, state, epoch))
    assert outcome.result.state == state
    return outcome.record


def held(level: int, access: int = READ | WRITE, share: int = ALL) -> FileRecord:
    """A file that FIRST has open, with an oplock."""
    return with_oplock(with_open(EMPTY_RECORD, FIRST, access, share), FIRST, level)


def leased(state: int, access: int = READ | WRITE, share: int = ALL, epoch: int = 0) -> FileRecord:
    """A file that FIRST has open, with the lease KEY."""
    return with_lease(with_open(EMPTY_RECORD, FIRST, access, share), FIRST, state, KEY, epoch)


def opening(owner: int = SECOND, access: int = READ, share: int = ALL, implied: int = 0, lease: bytes = b"") -> Opening:
    """An open that asks to be let in."""
    return Opening(owner, access, share, 0, implied, lease)


def breaking(level: int, implied: int = 0) -> FileRecord:
    """A file on which SECOND waits for the oplock of FIRST."""
    return admit(held(level), opening(implied=implied), NOW).record


def told(state: int, to: int, *, epoch: int = 0, deadline: float = 0.0, owner: int = FIRST) -> Message:
    """What the holder of a grant that breaks is told."""
    return Message(address(owner), GRANT_BROKEN, (state, to, epoch, deadline))


def states(grants: Iterable[Grant]) -> list[int]:
    """The rights of each grant."""
    return [grant.state for grant in grants]


def rights(state: int) -> str:
    """The rights as they are written: RWH."""
    names = ((READ_CACHING, "R"), (WRITE_CACHING, "W"), (HANDLE_CACHING, "H"))
    return "".join(name for bit, name in names if state & bit) or "-"


OPLOCK_STATES = {state: level for level, state in STATE_OF_LEVEL.items() if state}
"""The rights of each oplock, and its level."""
