"""The tokens of offloaded reads: what stands for a range of a file until it is written elsewhere (MS-FSCC 2.1.11).

A token is a random number that nobody can guess. It is good for the session and the user to whom it was given, while
the open that it was read through is open, the file has not changed, and its time is not over; a volume keeps only so
many, and gives up the oldest. The clock is given.
"""

import secrets
from collections import OrderedDict
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen

TOKEN_SIZE: Final = 512
MAX_TOKENS: Final = 1024
"""Tokens that a volume keeps; each holds a few numbers."""

_TOKEN: Final = Struct(">IHH504s")
_VENDOR_TYPE: Final = 0x4C4D4E41
_ZERO_TYPE: Final = 0xFFFF0001
_ID_LENGTH: Final = 504
_RANDOM: Final = 32

ZERO_TOKEN: Final = _TOKEN.pack(_ZERO_TYPE, 0, _ID_LENGTH, bytes(_ID_LENGTH))
"""STORAGE_OFFLOAD_TOKEN_TYPE_ZERO_DATA: a range of zeros, as long as one likes."""


class OffloadedRange(NamedTuple):
    """What a token stands for.

    `stamp` tells whether the file has changed since. `session_id` and `user_sid`: whom it was given to. `expires`:
    when its time is over, in seconds of the clock that is used.
    """

    source: "NtOpen"
    offset: int
    length: int
    stamp: tuple[int, ...]
    session_id: int
    user_sid: str
    expires: float


class OffloadTokens:
    """The tokens of one volume."""

    __slots__ = ("_limit", "_ranges")

    def __init__(self, limit: int = MAX_TOKENS) -> None:
        self._limit = limit
        self._ranges: OrderedDict[bytes, OffloadedRange] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ranges)

    def add(self, offloaded: OffloadedRange, now: float) -> bytes:
        """A new token (STORAGE_OFFLOAD_TOKEN) for a range."""
        self._forget_dead(now)
        while len(self._ranges) >= self._limit:
            self._ranges.popitem(last=False)
        token = _TOKEN.pack(_VENDOR_TYPE, 0, _ID_LENGTH, secrets.token_bytes(_RANDOM))
        self._ranges[token] = offloaded
        return token

    def find(self, token: bytes, session_id: int, user_sid: str, now: float) -> OffloadedRange | None:
        """What a token of 512 bytes stands for, for this user in this session; None where that is nothing any more."""
        found = self._ranges.get(token)
        if found is None or found.source.closed or now >= found.expires:
            return None
        return found if (found.session_id, found.user_sid) == (session_id, user_sid) else None

    def _forget_dead(self, now: float) -> None:
        # Looked at in the order they were given: one that lives longer keeps those behind it a little.
        while self._ranges:
            token, oldest = next(iter(self._ranges.items()))
            if not oldest.source.closed and now < oldest.expires:
                return
            del self._ranges[token]
