from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.ntfsa.locks.lock_table import NO_LOCKS, Lock, LockTable

LOCKS = st.builds(
    lambda offset, length, owner, exclusive: Lock(offset, offset + length, owner, exclusive),
    st.integers(0, 40),
    st.integers(0, 10),
    st.integers(1, 3),
    st.booleans(),
)


@given(st.lists(LOCKS, max_size=40), st.data())
def test_agrees_with_a_plain_list(locks: list[Lock], data: st.DataObject) -> None:
    table, model = NO_LOCKS, []
    for lock in locks:
        table = table.added(lock)
        model.append(lock)
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(model))
            model.remove(gone)
            table = table.removed(gone)
    assert list(table) == sorted(model)
    assert len(table) == len(model)
    start = data.draw(st.integers(0, 45))
    end = start + data.draw(st.integers(0, 10))
    assert list(table.overlapping(start, end)) == [x for x in sorted(model) if x.offset < end and x.end > start]
    assert table == LockTable.make(model)
    hits = [x for x in model if x.offset < end and x.end > start]
    assert table.has_shared(start, end) == any(not x.exclusive for x in hits)
    for beside in range(4):
        assert table.has_exclusive(start, end, beside) == any(x.exclusive and x.owner != beside for x in hits)
        assert list(table.without_owner(beside)) == [x for x in sorted(model) if x.owner != beside]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16))
def test_many_locks_answer_as_a_plain_list_does(seed: int) -> None:
    random = Random(seed)
    model = [
        Lock(offset, offset + random.choice((0, 1, 3, 700)), random.randint(1, 3), random.random() < 0.5)
        for offset in random.choices(range(3000), k=700)
    ]
    table = NO_LOCKS
    for lock in model:
        table = table.added(lock)
    for lock in [model.pop(random.randrange(len(model))) for _ in range(random.choice((1, 300, 680)))]:
        table = table.removed(lock)
    assert list(table) == sorted(model)
    for _ in range(20):
        start = random.randint(0, 3800)
        end = start + random.choice((0, 1, 50, 2000))
        hits = [x for x in sorted(model) if x.offset < end and x.end > start]
        assert list(table.overlapping(start, end)) == hits
        assert table.has_shared(start, end) == any(not x.exclusive for x in hits)
        assert table.has_exclusive(start, end) == any(x.exclusive for x in hits)
        assert table.has_exclusive(start, end, 2) == any(x.exclusive and x.owner != 2 for x in hits)


def test_many_locks_stay_sorted_and_findable_through_many_chunks() -> None:
    table = NO_LOCKS
    offsets = [(i * 7919) % 5000 for i in range(5000)]
    for offset in offsets:
        table = table.added(Lock(offset, offset + 1, 1, True))
    assert [lock.offset for lock in table] == list(range(5000))
    assert [lock.offset for lock in table.overlapping(1234, 1237)] == [1234, 1235, 1236]
    for offset in offsets[:4990]:
        table = table.removed(Lock(offset, offset + 1, 1, True))
    assert [lock.offset for lock in table] == sorted(offsets[4990:])


def test_equal_locks_across_chunks_are_all_found() -> None:
    same = Lock(5, 6, 1, False)
    table = LockTable.make([same] * 1000)
    for _ in range(1000):
        assert same in table
        table = table.removed(same)
    assert not table
    assert same not in table


def test_a_long_lock_before_many_short_ones_is_seen() -> None:
    table = LockTable.make([Lock(i, i + 1, 1, False) for i in range(2000)]).added(Lock(0, 5000, 2, False))
    assert Lock(0, 5000, 2, False) in list(table.overlapping(4000, 4001))


def test_values_do_not_change() -> None:
    one = NO_LOCKS.added(Lock(0, 1, 1, True))
    one.added(Lock(5, 6, 1, True))
    assert list(one) == [Lock(0, 1, 1, True)]
    assert hash(one) == hash(LockTable.make([Lock(0, 1, 1, True)]))
    assert one.without_owner(9) is one
    assert one.without_owner(1) is NO_LOCKS
    assert "x" not in one
