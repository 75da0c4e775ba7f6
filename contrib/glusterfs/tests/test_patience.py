"""How an operation waits for bricks that are away: as long as it may, and no more when they have been for long."""

import errno
from collections.abc import Callable

import pytest

from lamina_glusterfs.patience import PAUSE, Patience

SECONDS = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.patience = Patience(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def failing(number: int, times: int = 10**9) -> Callable[[float], str]:
    left = times

    def attempt(seconds: float) -> str:
        nonlocal left
        assert 0 <= seconds <= SECONDS
        if left:
            left -= 1
            raise OSError(number, "")
        return "done"

    return attempt


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EBADF])
def test_what_fails_for_a_while_is_done_in_the_end(number: int) -> None:
    clock = Clock()
    assert clock.patience.keep(SECONDS, failing(number, 3)) == "done"
    assert clock.now == 100 + 3 * PAUSE
    assert not clock.patience.is_over


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ETIMEDOUT, errno.EIO])
def test_what_fails_otherwise_fails_at_once(number: int) -> None:
    clock = Clock()
    with pytest.raises(OSError) as caught:
        clock.patience.keep(SECONDS, failing(number))
    assert caught.value.errno == number
    assert clock.now == 100
    assert not clock.patience.is_over


def test_patience_ends_and_is_not_begun_anew_until_something_works() -> None:
    clock = Clock()
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            clock.patience.keep(SECONDS, failing(errno.ENOTCONN))
        assert caught.value.errno == errno.ENOTCONN
        assert clock.patience.is_over
        assert clock.now <= 100 + SECONDS
    assert clock.patience.keep(SECONDS, failing(0, 0)) == "done"
    assert not clock.patience.is_over
    before = clock.now
    with pytest.raises(OSError):
        clock.patience.keep(SECONDS, failing(errno.ENOTCONN))
    assert clock.now > before + SECONDS / 2
