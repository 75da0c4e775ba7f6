"""Byte-range locks shown to local programs, where the share's chain can (the capability RANGE_LOCKS).

The record stays what decides between clients. What an open holds there is also taken on the file system, which may
refuse it for a lock of a local program. Named streams are nothing that local programs lock.
"""

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lamina.ntfsa.locks.lock_cover import cover
from lamina.vfs_modules.operations import Capability

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.record import LockRange
    from lamina.vfs_modules.token import ImpersonationToken


def shows_locks(open_: "NtOpen") -> bool:
    """Whether what is locked through `open_` is shown."""
    return Capability.RANGE_LOCKS in open_.volume.capabilities and not open_.file_key[2]


def show_locks(token: "ImpersonationToken", open_: "NtOpen", ranges: "Iterable[LockRange]") -> bool:
    """Show what `open_` holds of these ranges now; False where a local program's lock is in the way of a part of it.

    Whoever gets False takes the locks out of the record and calls again. Raises OSError.
    """
    volume = open_.volume
    shown = True
    for offset, length, _ in ranges:
        locks = volume.registry.read(open_.file_key).locks
        for start, size, kind in cover(locks, open_.owner, offset, offset + length) if length else ():
            try:
                volume.chain.set_range_lock(token, open_.handle, start, size, kind)
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES}:
                    raise
                shown = False
    return shown
