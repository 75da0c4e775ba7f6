"""The answer to a query: a status that is no failure, and bytes."""

from typing import NamedTuple

from lamina.ntfsa.fscc.fields import fit
from lamina.ntfsa.status import NtStatus


class Information(NamedTuple):
    """What a query answers: SUCCESS, or BUFFER_OVERFLOW where only part of it had room."""

    status: NtStatus
    data: bytes


def fitted(data: bytes, max_length: int) -> Information:
    """The answer `data`, cut where there is not room for it."""
    return Information(*fit(data, max_length))
