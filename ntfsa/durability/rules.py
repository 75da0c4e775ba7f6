"""Which opens outlive their connection, and what ends one that waits for its client. No I/O and no clock.

A *durable* open rests on a right to keep the file open that others can take back: a batch oplock, or a lease that
caches handles (MS-SMB2 3.3.5.9.6, 3.3.5.9.10). While its client is gone nobody can write back or let go, so whoever
breaks that right, or one to cache writes, gets the open closed instead of an answer. A *resilient* open (3.3.5.15.9)
and a *persistent* one are promises that hold whatever others want: what they cache goes, the open stays.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from lamina.ntfsa.grants.caching import ANSWERED, ANY_CACHING, HANDLE_CACHING
from lamina.ntfsa.record import STABLE, FileRecord

MAX_DURABLE_SECONDS: Final = 300.0
"""The longest that a durable or a resilient open is kept (3.3.5.9.10; MaxResiliencyTimeout of 3.3.1.5)."""

DEFAULT_V2_SECONDS: Final = 60.0
"""How long a durable open of version 2 is kept where the client does not say (3.3.5.9.10)."""

DEFAULT_V1_SECONDS: Final = 120.0
"""How long one of version 1 is kept (3.3.5.9.6; what Windows 8 and newer do)."""

DEFAULT_RESILIENT_SECONDS: Final = 120.0
"""How long a resilient open is kept where the client does not say (3.3.5.15.9)."""

MAX_PERSISTENT: Final = 65_536
"""Opens of a server that are persistent at a time: each has a record that is read when the server starts."""

MAX_PERSISTENT_LOCKS: Final = 4_096
"""Locks of one persistent open: whatever changes it writes a record that names all of them."""


class Kind(StrEnum):
    """What an open was promised."""

    DURABLE = "durable"
    RESILIENT = "resilient"
    PERSISTENT = "persistent"


class HeldGrant(NamedTuple):
    """The caching right that an open rests on: *_CACHING, whether it is a lease's, and whether it is breaking."""

    state: int
    is_lease: bool
    breaking: bool


NO_GRANT: Final = HeldGrant(0, False, False)


def held_grant(record: FileRecord, owner: int) -> HeldGrant:
    """The grant of the open `owner` in the record of its file."""
    for grant in record.grants:
        if owner in grant.owners:
            return HeldGrant(grant.state, bool(grant.lease), grant.breaking_to != STABLE)
    return NO_GRANT


def carries(grant: HeldGrant) -> bool:
    """Whether a durable open can rest on `grant`: a batch oplock, or a lease that caches handles."""
    if grant.is_lease:
        return bool(grant.state & HANDLE_CACHING)
    return grant.state == ANY_CACHING


def outlives_connection(kind: Kind, grant: HeldGrant) -> bool:
    """Whether an open is kept when its connection, session or tree ends (3.3.7.1, 3.3.5.6, 3.3.5.8)."""
    if kind is not Kind.DURABLE:
        return True
    return carries(grant) and not grant.breaking


def ended_by_break(kind: Kind, held: int, to: int) -> bool:
    """Whether an open without a client ends as its grant of the rights `held` is to become `to` (3.3.4.6, 3.3.4.7).

    What takes only its reading away leaves it as it is: it learns of that from the answer to its reconnect.
    """
    return kind is Kind.DURABLE and bool(held & ANSWERED & ~to)


def durable_seconds(asked_ms: int) -> float:
    """How long a durable open of version 2 is kept, for the milliseconds that its client asks for."""
    return min(asked_ms / 1000, MAX_DURABLE_SECONDS) if asked_ms else DEFAULT_V2_SECONDS


def resilient_seconds(asked_ms: int) -> float | None:
    """How long a resilient open is kept; None where more is asked than is given (INVALID_PARAMETER)."""
    if not asked_ms:
        return DEFAULT_RESILIENT_SECONDS
    return asked_ms / 1000 if asked_ms / 1000 <= MAX_DURABLE_SECONDS else None
