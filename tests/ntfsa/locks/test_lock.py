"""LOCK requests: arrays of elements, waiting, cancelling."""

import asyncio

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.locks.lock import LockElement as E
from lamina.ntfsa.locks.lock import lock
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.engine import Engine, RequestCancelled, Task

EX, SH, UN, NOW = (
    c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK,
    c.SMB2_LOCKFLAG_SHARED_LOCK,
    c.SMB2_LOCKFLAG_UNLOCK,
    c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY,
)


@pytest.fixture
def pair(share):
    return share.open("file", c.FILE_CREATE), share.open("file")


@pytest.mark.parametrize(
    ("elements", "status"),
    [
        ([], S.INVALID_PARAMETER),
        ([E(0, 1, 0)], S.INVALID_PARAMETER),
        ([E(0, 1, EX | SH | NOW)], S.INVALID_PARAMETER),
        ([E(0, 1, UN | NOW)], S.INVALID_PARAMETER),
        ([E(0, 1, UN | EX)], S.INVALID_PARAMETER),
        ([E(0, 1, EX | NOW), E(2, 1, UN)], S.INVALID_PARAMETER),
        ([E(0, 1, EX), E(2, 1, EX)], S.INVALID_PARAMETER),
        ([E(0, 1, EX | NOW), E(2, 1, EX)], S.INVALID_PARAMETER),
        ([E(0, 1, UN)], S.RANGE_NOT_LOCKED),
        ([E(2**64 - 1, 2, EX | NOW)], S.INVALID_LOCK_RANGE),
        ([E(0, 1, EX | NOW), E(0, 1, EX | NOW)], S.LOCK_NOT_GRANTED),
    ],
)
def test_what_is_refused_takes_nothing(share, pair, refused, elements, status):
    refused(status, lock, share.context, pair[0], elements)
    lock(share.context, pair[1], [E(0, 2**64 - 1, EX | NOW)])


def test_an_array_has_its_limit(share, pair, refused):
    refused(S.INSUFFICIENT_RESOURCES, lock, share.context, pair[0], [E(i, 1, SH | NOW) for i in range(4097)])
    lock(share.context, pair[1], [E(0, 4097, EX | NOW)])


def test_locks_do_not_hinder_changing_the_size(share, pair):
    one, two = pair
    share.write(one, bytes(10))
    lock(share.context, one, [E(0, 10, EX | NOW)])
    share.set(two, c.FILE_END_OF_FILE_INFORMATION, (5).to_bytes(8, "little"))
    lock(share.context, one, [E(0, 10, UN)])


def test_arrays_are_taken_whole_or_not_at_all(share, pair, refused):
    one, two = pair
    lock(share.context, one, [E(0, 10, EX | NOW), E(20, 10, SH | NOW)])
    refused(S.LOCK_NOT_GRANTED, lock, share.context, two, [E(40, 1, EX | NOW), E(25, 1, EX | NOW)])
    lock(share.context, one, [E(40, 1, EX | NOW)])


def test_unlocks_stay_done_when_a_later_one_fails(share, pair, refused):
    one, two = pair
    lock(share.context, one, [E(0, 10, EX | NOW)])
    refused(S.RANGE_NOT_LOCKED, lock, share.context, one, [E(0, 10, UN), E(50, 1, UN)])
    lock(share.context, two, [E(0, 10, EX | NOW)])


def test_access_and_kind(share, refused):
    share.make("file")
    looks = share.open("file", desired_access=c.FILE_READ_ATTRIBUTES)
    refused(S.ACCESS_DENIED, lock, share.context, looks, [E(0, 1, EX | NOW)])
    refused(S.INVALID_PARAMETER, lock, share.context, share.open(""), [E(0, 1, EX | NOW)])


def in_requests(*steps):
    """Run each step as a request of an engine, one after the other, on a loop of its own."""

    async def main():
        engine = Engine(asyncio.get_running_loop(), threads=1)
        outcomes: dict[str, object] = {}
        tasks: dict[str, Task] = {}

        def run(name, function):
            try:
                function()
                outcomes[name] = S.SUCCESS
            except NtStatusError as error:
                outcomes[name] = error.status
            except RequestCancelled:
                outcomes[name] = "cancelled"

        for name, step in steps:
            if name.startswith("cancel "):
                tasks[name.removeprefix("cancel ")].cancel()
            else:
                tasks[name] = Task()
                engine.spawn(tasks[name], run, name, step)
            for _ in range(5):
                await asyncio.sleep(0)
            if callable(step) and name.startswith("check"):
                assert outcomes[name] is S.SUCCESS
        engine.close()
        return outcomes

    return asyncio.run(main())


def test_a_lock_waits_until_the_range_is_free(share, pair):
    one, two = pair
    context = share.context
    outcomes = {}
    outcomes = in_requests(
        ("take", lambda: lock(context, one, [E(0, 10, EX)])),
        ("wait", lambda: lock(context, two, [E(5, 10, EX)])),
        ("free", lambda: lock(context, one, [E(0, 10, UN)])),
        ("again", lambda: lock(context, one, [E(0, 10, EX | NOW)])),
    )
    assert outcomes == {"take": S.SUCCESS, "wait": S.SUCCESS, "free": S.SUCCESS, "again": S.LOCK_NOT_GRANTED}


def test_closing_the_holder_wakes_the_waiter(share, pair):
    one, two = pair
    context = share.context
    outcomes = in_requests(
        ("take", lambda: lock(context, one, [E(0, 10, EX)])),
        ("wait", lambda: lock(context, two, [E(0, 10, SH)])),
        ("close", lambda: share.close(one)),
    )
    assert outcomes["wait"] is S.SUCCESS


def test_closing_the_waiter_ends_its_wait(share, pair):
    one, two = pair
    context = share.context
    outcomes = in_requests(
        ("take", lambda: lock(context, one, [E(0, 10, EX)])),
        ("wait", lambda: lock(context, two, [E(0, 10, EX)])),
        ("close", lambda: share.close(two)),
    )
    assert outcomes["wait"] is S.RANGE_NOT_LOCKED


def test_a_cancelled_wait_leaves_nothing(share, pair):
    one, two = pair
    context = share.context
    outcomes = in_requests(
        ("take", lambda: lock(context, one, [E(0, 10, EX)])),
        ("wait", lambda: lock(context, two, [E(0, 10, EX)])),
        ("cancel wait", None),
        ("free", lambda: lock(context, one, [E(0, 10, UN)])),
        ("again", lambda: lock(context, one, [E(0, 10, EX | NOW)])),
    )
    assert outcomes["wait"] == "cancelled"
    assert outcomes["again"] is S.SUCCESS
    assert two.waiting_locks is None
