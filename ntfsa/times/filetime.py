"""FILETIME (MS-DTYP 2.3.3) and nanoseconds since 1970, one into the other.

A FILETIME counts 100 ns steps since 1601-01-01 UTC. On the wire it is an unsigned 64-bit field whose values from
2^63 up have no meaning as a time; 0, -1 and -2 have special meanings in some requests (MS-FSCC 2.4.7), which are for
the caller to see before converting.
"""

from typing import Final

EPOCH_DIFFERENCE: Final = 116_444_736_000_000_000
"""1970-01-01 as FILETIME."""

MAX_FILETIME: Final = 0x7FFFFFFFFFFFFFFF

PLAIN_TIMES_END: Final = 1 << 62
"""Nanoseconds since 1970: of times from then until here (2116) none is out of a FILETIME's range.

If `0 <= a | b | c < PLAIN_TIMES_END`, that holds for each of them, in one comparison.
"""


def to_filetime(ns: int) -> int:
    """The FILETIME of a time in nanoseconds since 1970-01-01 UTC; times outside its range become its ends.

    The least answer is 0 (1601-01-01 and before), the greatest 2^63 - 1. Fractions of a step are cut downwards.
    """
    filetime = ns // 100 + EPOCH_DIFFERENCE
    if 0 <= filetime <= MAX_FILETIME:
        return filetime
    return 0 if filetime < 0 else MAX_FILETIME


def from_filetime(filetime: int) -> int:
    """Nanoseconds since 1970-01-01 UTC (negative before) of a FILETIME; values beyond 2^63 - 1 count as that."""
    return (min(filetime, MAX_FILETIME) - EPOCH_DIFFERENCE) * 100
