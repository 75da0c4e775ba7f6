"""The pool: what nobody refers to is used again, and nothing else."""

from collections.abc import Callable

import pytest

from lamina.core.buffers import MINIMUM, BufferPool

SIZE = 4 * MINIMUM


def test_a_buffer_that_was_given_back_is_used_again_the_last_one_first() -> None:
    pool = BufferPool()
    first, second = pool.take(SIZE), pool.take(SIZE)
    pool.give(first)
    pool.give(second)
    assert pool.take(SIZE - 1) is second
    assert pool.take(SIZE) is first


def test_small_buffers_are_not_kept() -> None:
    pool = BufferPool()
    small = pool.take(100)
    pool.give(small)
    pool.lend(small)
    assert pool.take(100) is not small


@pytest.mark.parametrize("refer", [memoryview, lambda buffer: memoryview(buffer)[5:9][1:], lambda buffer: buffer])
def test_a_buffer_that_was_lent_is_used_again_when_nobody_refers_to_it(refer: Callable[[bytearray], object]) -> None:
    pool = BufferPool()
    reference = refer(pool.take(SIZE))
    buffer = reference.obj if isinstance(reference, memoryview) else reference
    assert isinstance(buffer, bytearray)
    pool.lend(buffer)
    number = id(buffer)
    del buffer
    assert id(pool.take(SIZE)) != number
    del reference
    assert id(pool.take(SIZE)) == number


def test_of_what_was_lent_each_is_waited_for_by_itself() -> None:
    pool = BufferPool()
    views = [memoryview(pool.take(SIZE)) for _ in range(5)]
    for view in views:
        pool.lend(view.obj)  # type: ignore[arg-type]
    numbers = [id(view.obj) for view in views]
    del view, views[1], views[2]
    taken = [pool.take(SIZE) for _ in range(3)]
    assert {id(one) for one in taken[:2]} == {numbers[1], numbers[3]}
    assert id(taken[2]) not in numbers


def test_the_pool_holds_no_more_than_its_bound_of_what_is_lent_or_free() -> None:
    pool = BufferPool()
    buffers = [pool.take(16 << 20) for _ in range(10)]
    for buffer in buffers:
        pool.lend(buffer)
    assert pool._lent_bytes <= 64 << 20
    del buffer
    buffers.clear()
    taken = [pool.take(16 << 20)]
    assert pool._lent_bytes == 0
    assert pool._kept <= 64 << 20
    assert taken
