"""What a chain and the programs beside the server let one another know: byte-range locks and leases of files.

The values of the operations `set_range_lock` and `set_lease`; what a lock or a lease means to clients is ntfsa's.
"""

from collections.abc import Callable
from enum import IntEnum


class RangeLock(IntEnum):
    """How a handle has a range locked."""

    NONE = 0
    SHARED = 1
    EXCLUSIVE = 2


class FileLease(IntEnum):
    """What a handle is to be asked for before programs beside the server get it.

    READ: before they open the file for writing, or cut it. WRITE: before they open it at all.
    """

    NONE = 0
    READ = 1
    WRITE = 2


LeaseBroken = Callable[[FileLease], None]
"""`broken(to)`: somebody outside waits for the file until the lease is no more than `to`; see `set_lease`."""
