from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.locks.lock_cover import cover
from lamina.ntfsa.locks.lock_table import NO_LOCKS, Lock, LockTable
from lamina.vfs_modules.outside import RangeLock

LOCKS = st.builds(
    lambda offset, length, owner, exclusive: Lock(offset, offset + length, owner, exclusive),
    st.integers(0, 12),
    st.integers(0, 8),
    st.integers(1, 2),
    st.booleans(),
)


@given(st.lists(LOCKS, max_size=8), st.integers(0, 12), st.integers(1, 8))
def test_each_byte_is_locked_as_the_strongest_lock_says(locks: list[Lock], start: int, length: int) -> None:
    pieces = cover(LockTable.make(locks), 1, start, start + length)
    told = [kind for _, size, kind in pieces for _ in range(size)]
    expected = []
    for byte in range(start, start + length):
        here = [lock.exclusive for lock in locks if lock.owner == 1 and lock.offset <= byte < lock.end]
        expected.append(RangeLock.EXCLUSIVE if any(here) else RangeLock.SHARED if here else RangeLock.NONE)
    assert told == expected
    assert [offset for offset, _, _ in pieces] == [
        start + sum(size for _, size, _ in pieces[:index]) for index in range(len(pieces))
    ]
    assert all(one[2] is not other[2] for one, other in pairwise(pieces))


def test_nothing_locked_is_one_piece() -> None:
    assert cover(NO_LOCKS, 1, 5, 10) == [(5, 5, RangeLock.NONE)]
