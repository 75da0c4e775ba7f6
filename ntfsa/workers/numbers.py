"""Which worker a number belongs to: of opens, of the addresses of grants, of sessions."""

from typing import Final

WORKER_BITS: Final = 8
"""The lowest bits of such a number are the worker's; workers count from 1."""

FILE_ID_BITS: Final = 48
"""Of the id of an open file, which counts up: the worker is above them."""

MAX_WORKERS: Final = (1 << WORKER_BITS) - 1


def worker_of(number: int) -> int:
    """The worker that an owner, an address or a session belongs to."""
    return number & MAX_WORKERS
