"""Checks of what a chain does with byte-range locks that others are to see."""

import errno

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.outside import RangeLock
from lamina.vfs_modules.testing.hand import READ_WRITE, check, fails_with, hand_of
from lamina.vfs_modules.token import ImpersonationToken

_NONE, _SHARED, _EXCLUSIVE = RangeLock.NONE, RangeLock.SHARED, RangeLock.EXCLUSIVE


@check(Capability.RANGE_LOCKS)
def range_locks_exclude_other_handles(chain: Chain, token: ImpersonationToken) -> None:
    """Shared ones suffer one another; what is refused changes nothing; what was locked is replaced."""
    with hand_of(chain, token) as hand:
        first, second = hand.make("file", b"0123456789"), hand.open("file", READ_WRITE)
        chain.set_range_lock(token, first, 0, 6, _SHARED)
        chain.set_range_lock(token, second, 2, 6, _SHARED)
        with fails_with(errno.EAGAIN):
            chain.set_range_lock(token, first, 4, 6, _EXCLUSIVE)
        chain.set_range_lock(token, second, 2, 6, _NONE)
        chain.set_range_lock(token, first, 4, 6, _EXCLUSIVE)
        with fails_with(errno.EAGAIN):
            chain.set_range_lock(token, second, 9, 1, _SHARED)
        chain.set_range_lock(token, second, 0, 4, _SHARED)
        chain.set_range_lock(token, first, 0, 10, _NONE)
        chain.set_range_lock(token, second, 0, 10, _EXCLUSIVE)


@check(Capability.RANGE_LOCKS)
def range_locks_end_with_their_handle(chain: Chain, token: ImpersonationToken) -> None:
    """And not with another handle of the file."""
    with hand_of(chain, token) as hand:
        first = hand.make("file")
        second = chain.open(token, hand.root, "file", READ_WRITE)
        chain.set_range_lock(token, second, 0, 1, _EXCLUSIVE)
        chain.close(token, chain.open(token, hand.root, "file", READ_WRITE))
        with fails_with(errno.EAGAIN):
            chain.set_range_lock(token, first, 0, 1, _SHARED)
        chain.close(token, second)
        chain.set_range_lock(token, first, 0, 1, _SHARED)


@check(Capability.RANGE_LOCKS)
def range_locks_beyond_the_end_and_at_the_limits_do_no_harm(chain: Chain, token: ImpersonationToken) -> None:
    """Whether they can be expressed or not."""
    with hand_of(chain, token) as hand:
        handle = hand.make("file")
        for offset, length in ((0, 0), (5, 0), (1 << 40, 1), (1 << 63, 1), ((1 << 64) - 1, 1), (0, 1 << 64)):
            for kind in (_SHARED, _EXCLUSIVE, _NONE):
                chain.set_range_lock(token, handle, offset, length, kind)
