"""Reads and writes that are given up, or whose handle is closed meanwhile, use nothing of somebody else's."""

import errno
import threading
from typing import Any

import pytest

from lamina_glusterfs.binding import STAT_FORMS, Gfapi, declared
from lamina_glusterfs.transfers import Transfers

FFI = declared()


class Handle:
    """Stands for an `Opened`."""

    def __init__(self) -> None:
        self.users = 0

    def enter(self) -> None:
        self.users += 1

    def leave(self, give_back: object = None) -> None:
        assert give_back is not None
        self.users -= 1


@pytest.fixture
def transfers() -> Transfers:
    return Transfers(Gfapi(None, FFI, STAT_FORMS["x86_64"]))


def on_a_thread(callback: Any, count: int, data: Any, failed: int = 0) -> int:
    """Call back from a thread of its own; what the library's functions return."""

    def call() -> None:
        FFI.errno = failed
        callback(FFI.NULL, count, FFI.NULL, FFI.NULL, data)

    threading.Thread(target=call).start()
    return 0


def test_the_library_s_thread_gives_the_answer(transfers: Transfers) -> None:
    handle: Any = Handle()
    answer = transfers.begin(handle, lambda callback, data: on_a_thread(callback, 7, data))
    assert answer.get(30.0) == 7
    assert handle.users == 0


def test_its_error_is_raised(transfers: Transfers) -> None:
    handle: Any = Handle()
    answer = transfers.begin(handle, lambda callback, data: on_a_thread(callback, -1, data, errno.ENOSPC))
    with pytest.raises(OSError) as caught:
        answer.get(30.0)
    assert caught.value.errno == errno.ENOSPC


def test_what_does_not_begin_is_told_at_once(transfers: Transfers) -> None:
    handle: Any = Handle()

    def start(callback: object, data: object) -> int:
        FFI.errno = errno.EBADFD
        return -1

    with pytest.raises(OSError) as caught:
        transfers.begin(handle, start)
    assert caught.value.errno == errno.EBADF
    assert handle.users == 0


def test_a_handle_is_in_use_until_the_library_has_called_back(transfers: Transfers) -> None:
    handle: Any = Handle()
    later: list[tuple[Any, ...]] = []

    def start(*told: Any) -> int:
        later.append(told)
        return 0

    answer = transfers.begin(handle, start)
    with pytest.raises(TimeoutError):
        answer.get(0.0)
    assert handle.users == 1
    ((callback, data),) = later
    callback(FFI.NULL, 7, FFI.NULL, FFI.NULL, data)
    assert handle.users == 0


def test_a_buffer_is_used_again_when_it_was_kept_and_only_so_many_are(transfers: Transfers) -> None:
    first = transfers.buffer(4096)
    assert transfers.buffer(4096) is not first
    transfers.keep(first)
    assert transfers.buffer(4096) is first
    large = [transfers.buffer(8 << 20) for _ in range(3)]
    for buffer in large:
        transfers.keep(buffer)
    assert transfers.buffer(8 << 20) is large[0]
    assert all(transfers.buffer(8 << 20) is not one for one in large)
