"""Caching rights: what a client may keep to itself, and what each operation of another takes from it.

A grant of caching rights is an oplock, held by one open (MS-FSA 2.1.1.10 Per Oplock), or a lease, held by all opens
of one client that name the same lease key (MS-SMB2 3.3.1.12 Per Lease). Both are a set of the same three rights, so
that one model serves them; they differ in which sets there are, and `remaining` is that difference. `OPERATIONS` is
the table of what breaks what (MS-FSA 2.1.4.12 Algorithm to Check for an Oplock Break, MS-SMB2 3.3.1.4 Algorithm for
Leasing in an Object Store). How grants are given is `granting`, how they end is `breaking`.
"""

from typing import Final, NamedTuple

from lamina.ntfsa.constants import FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, READ_CONTROL, SYNCHRONIZE

READ_CACHING: Final = 1
HANDLE_CACHING: Final = 2
WRITE_CACHING: Final = 4
ANY_CACHING: Final = READ_CACHING | HANDLE_CACHING | WRITE_CACHING
"""The rights; the numbers are those of leases (MS-SMB2 2.2.13.2.8)."""

ANSWERED: Final = HANDLE_CACHING | WRITE_CACHING
"""Rights that may have been used for what others cannot see yet: who holds one of them answers a break."""

OPLOCK_LEVEL_NONE: Final = 0x00
OPLOCK_LEVEL_II: Final = 0x01
OPLOCK_LEVEL_EXCLUSIVE: Final = 0x08
OPLOCK_LEVEL_BATCH: Final = 0x09
OPLOCK_LEVEL_LEASE: Final = 0xFF
"""Levels of an oplock (MS-SMB2 2.2.13)."""

STATE_OF_LEVEL: Final = {
    OPLOCK_LEVEL_NONE: 0,
    OPLOCK_LEVEL_II: READ_CACHING,
    OPLOCK_LEVEL_EXCLUSIVE: READ_CACHING | WRITE_CACHING,
    OPLOCK_LEVEL_BATCH: ANY_CACHING,
}
"""The rights that an oplock of each level is."""

LEVEL_OF_STATE: Final = {state: level for level, state in STATE_OF_LEVEL.items()}

LEASE_STATES: Final = frozenset(
    {
        0,
        READ_CACHING,
        READ_CACHING | HANDLE_CACHING,
        READ_CACHING | WRITE_CACHING,
        ANY_CACHING,
    }
)
"""The sets of rights that a lease can be (MS-SMB2 3.3.1.12): whoever caches anything caches reads."""

BREAK_SECONDS: Final = 35.0
"""How long the holder of a breaking grant has to answer (MS-SMB2 3.3.2.1, 3.3.2.5)."""

_UNSEEN_ACCESS: Final = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE
_UNSEEN_BY_LEASES: Final = _UNSEEN_ACCESS | READ_CONTROL


class Operation(NamedTuple):
    """What an operation does to the grants of others.

    They lose the rights `lost`, and it goes on when no holder of a right of `waits` owes an answer. With `own_reading`
    the operator's own level II ends, too: unlike a lease it says nothing of who wrote. With `batch` only batch oplocks
    are meant.
    """

    name: str
    lost: int
    waits: int = 0
    own_reading: bool = False
    batch: bool = False


OPEN: Final = Operation("open", WRITE_CACHING, WRITE_CACHING)
OVERWRITE: Final = Operation("overwrite", ANY_CACHING, WRITE_CACHING)
OPEN_BATCH: Final = Operation("open, before sharing is checked", WRITE_CACHING, ANSWERED, batch=True)
OVERWRITE_BATCH: Final = Operation("overwrite, before sharing is checked", ANY_CACHING, ANSWERED, batch=True)
SHARING_CONFLICT: Final = Operation("open that is a sharing violation", HANDLE_CACHING, HANDLE_CACHING)
CHANGE_DATA: Final = Operation("write, zero or change of size", ANY_CACHING, WRITE_CACHING, own_reading=True)
LOCK: Final = Operation("byte-range lock", ANY_CACHING, WRITE_CACHING, own_reading=True)
CHANGE_NAME: Final = Operation("rename, replacement or deletion", HANDLE_CACHING, HANDLE_CACHING)
CHANGE_SECURITY: Final = Operation("change of the security descriptor", HANDLE_CACHING, HANDLE_CACHING)
CLOSE_DELETING: Final = Operation("close that deletes", HANDLE_CACHING)
CHANGE_ENTRY: Final = Operation("change of a directory's entry", ANY_CACHING)
OUTSIDE_OPEN: Final = Operation("open by a local program", ANY_CACHING, ANSWERED)

OPERATIONS: Final = (
    OPEN_BATCH,
    OVERWRITE_BATCH,
    SHARING_CONFLICT,
    OPEN,
    OVERWRITE,
    CHANGE_DATA,
    LOCK,
    CHANGE_NAME,
    CHANGE_SECURITY,
    CLOSE_DELETING,
    CHANGE_ENTRY,
    OUTSIDE_OPEN,
)
"""Everything that breaks grants."""


def takes_part(access: int) -> bool:
    """Whether an open with this access breaks grants, and is in the way of them: not if it asks for attributes only."""
    return bool(access & ~_UNSEEN_ACCESS)


def touches_leases(access: int) -> bool:
    """Whether an open with this access breaks leases, too, and is in their way: reading the descriptor does not."""
    return bool(access & ~_UNSEEN_BY_LEASES)


def remaining(is_lease: bool, state: int, lost: int) -> int:
    """What a grant of the rights `state` is without the rights `lost`.

    A lease keeps what is a state of a lease. An oplock that loses anything comes down to level II, or to nothing; a
    batch oplock whose handle is in the way to nothing.
    """
    if not state & lost:
        return state
    state &= ~lost
    if is_lease:
        return state if state & READ_CACHING else 0
    return state & READ_CACHING if lost & WRITE_CACHING else 0
