"""What the quota operations are about: whose files are counted, and what is kept of them."""

from enum import Enum
from typing import NamedTuple


class QuotaKind(Enum):
    """Whose files an entry counts: those that a user owns, or those that belong to a group."""

    USER = 0
    GROUP = 1


class Quota(NamedTuple):
    """One entry, in bytes. `number` is a uid or gid; `soft`, `hard`: limits, None for none.

    What the hard limit does not leave room for fails with EDQUOT; the soft one may be exceeded for a while.
    """

    kind: QuotaKind
    number: int
    used: int
    soft: int | None = None
    hard: int | None = None
