"""The registry that workers share: as the one in memory, for the rules; and what only this one has to do."""

import os
import resource
import select
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from lamina.ntfsa.constants import FILE_READ_DATA, FILE_SHARE_ALL, FILE_WRITE_DATA
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH
from lamina.ntfsa.grants.granting import grant_oplock
from lamina.ntfsa.locks.byte_range import lock, unlock
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.record import EMPTY_RECORD, LOCK_GRANTED, FileKey, LockRange, Message
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.workers.kept_opens import KeptOpen, forget_open, keep_open, kept_by
from lamina.ntfsa.workers.numbers import worker_of
from lamina.ntfsa.workers.shared_registry import MESSAGE, SharedRegistry, bury
from lamina.ntfsa.workers.shared_state import SharedState

KEY: FileKey = (1, 2, "")
WHOLE = [LockRange(0, 10, True)]


@pytest.fixture
def bells() -> Iterator[dict[int, int]]:
    made = {number: os.eventfd(0, os.EFD_NONBLOCK) for number in (1, 2)}
    yield made
    for bell in made.values():
        os.close(bell)


@pytest.fixture
def state(tmp_path: Path, bells: dict[int, int]) -> Iterator[SharedState]:
    made = SharedState(tmp_path, 1, bells)
    yield made
    made.close()


def in_the_other(folder: Path, bells: dict[int, int], work: Any, *arguments: Any) -> Any:
    """Do something in a process that is worker 2; what `work(state, *arguments)` returns."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_other, args=(folder, bells, work, theirs, arguments))
    process.start()
    answer = ours.recv()
    process.join()
    return answer


def _other(folder: Path, bells: dict[int, int], work: Any, pipe: Any, arguments: tuple[Any, ...]) -> None:
    state = SharedState(folder, 2, bells)
    pipe.send(work(state, *arguments))
    state.close()


def _open(state: SharedState, access: int, share: int) -> tuple[NtStatus, int]:
    registry = SharedRegistry(state)
    owner = registry.new_owner()
    return registry.update(KEY, open_file, owner, access, share).result, owner


def _wait_for_lock(state: SharedState) -> int:
    owner = _open(state, FILE_WRITE_DATA, FILE_SHARE_ALL)[1]
    assert SharedRegistry(state).update(KEY, lock, owner, WHOLE, 7).result == NtStatus.PENDING
    return owner


def _letters(state: SharedState) -> list[Any]:
    return state.collect()


def test_a_record_lives_as_long_as_an_open(state: SharedState) -> None:
    registry = SharedRegistry(state)
    owner = registry.new_owner()
    assert worker_of(owner) == 1
    assert registry.update(KEY, open_file, owner, FILE_READ_DATA, FILE_SHARE_ALL).result == NtStatus.SUCCESS
    assert [entry.owner for entry in registry.read(KEY).opens] == [owner]
    assert registry.update(KEY, close_file, owner).result.last
    assert registry.read(KEY) is EMPTY_RECORD


def test_a_rule_that_fails_changes_nothing(state: SharedState) -> None:
    registry = SharedRegistry(state)

    def fails(_: object) -> Any:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        registry.update(KEY, fails)
    assert registry.update(KEY, open_file, registry.new_owner(), 1, 7).result == NtStatus.SUCCESS


def test_a_name_of_a_stream_may_be_as_long_as_it_likes(state: SharedState) -> None:
    registry = SharedRegistry(state)
    for stream in ("\u20ac" * 255, "\u20ac" * 254 + "x"):
        assert registry.update((1, 2, stream), open_file, registry.new_owner(), FILE_READ_DATA, 0).result is (
            NtStatus.SUCCESS
        )
    assert not registry.read((1, 2, "\u20ac" * 254)).opens


def test_another_process_sees_what_is_open(tmp_path: Path, bells: dict[int, int]) -> None:
    first = in_the_other(tmp_path, bells, _open, FILE_WRITE_DATA, 0)
    assert first[0] == NtStatus.SUCCESS
    assert worker_of(first[1]) == 2
    state = SharedState(tmp_path, 1, bells)
    assert _open(state, FILE_READ_DATA, FILE_SHARE_ALL)[0] == NtStatus.SHARING_VIOLATION
    assert bury(state, 2) == 1
    assert _open(state, FILE_READ_DATA, FILE_SHARE_ALL)[0] == NtStatus.SUCCESS
    state.close()


def test_what_a_rule_says_to_another_worker_is_a_letter(tmp_path: Path, bells: dict[int, int]) -> None:
    state = SharedState(tmp_path, 1, bells)
    registry = SharedRegistry(state)
    owner = registry.new_owner()
    registry.update(KEY, open_file, owner, FILE_WRITE_DATA, FILE_SHARE_ALL)
    registry.update(KEY, lock, owner, WHOLE)
    state.close()
    waits = in_the_other(tmp_path, bells, _wait_for_lock)
    state = SharedState(tmp_path, 1, bells)
    SharedRegistry(state).update(KEY, unlock, owner, 0, 10)
    state.close()
    assert select.select([bells[2]], [], [], 0)[0]
    assert in_the_other(tmp_path, bells, _letters) == [(MESSAGE, waits, LOCK_GRANTED, (7,))]
    assert in_the_other(tmp_path, bells, _letters) == []


def test_letters_come_in_their_order(state: SharedState) -> None:
    for number in range(300):
        state.post((1,), ("word", number))
    assert [number for _, number in state.collect()] == list(range(300))


def test_own_messages_come_at_once_and_only_while_subscribed(state: SharedState) -> None:
    registry, seen = SharedRegistry(state), list[Message]()
    one, other = registry.new_owner(), registry.new_owner()
    for owner in (one, other):
        registry.update(KEY, open_file, owner, FILE_WRITE_DATA, FILE_SHARE_ALL)
    registry.update(KEY, lock, one, WHOLE)
    registry.update(KEY, lock, other, WHOLE, 7)
    registry.subscribe(other, seen.append)
    registry.update(KEY, unlock, one, 0, 10)
    assert seen == [Message(other, LOCK_GRANTED, (7,))]


def test_what_is_kept_for_its_client_is_not_buried(state: SharedState) -> None:
    registry = SharedRegistry(state)
    kept, lost = registry.new_owner(), registry.new_owner()
    registry.update(KEY, open_file, kept, FILE_WRITE_DATA, FILE_SHARE_ALL)
    registry.update(KEY, grant_oplock, kept, registry.new_owner(), OPLOCK_LEVEL_BATCH)
    registry.update((1, 3, ""), open_file, lost, FILE_WRITE_DATA, FILE_SHARE_ALL)
    row = KeptOpen(5, kept, KEY, 9, b"form")
    keep_open(state, row)
    bury(state, 1)
    assert [entry.owner for entry in registry.read(KEY).opens] == [kept]
    assert registry.read(KEY).grants
    assert not registry.read((1, 3, "")).opens
    assert kept_by(state, 1) == [row]
    forget_open(state, 5)
    forget_open(state, 5)
    assert kept_by(state, 1) == []
    bury(state, 1)
    assert registry.read(KEY) is EMPTY_RECORD


def test_a_full_file_system_is_an_error_and_not_the_end_of_the_process(state: SharedState, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = os.stat(tmp_path / "data.mdb").st_blocks * 512
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(NtStatusError) as caught, state.changing(state.records) as step:
            step.transaction.put(b"large", bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.status is NtStatus.INSUFFICIENT_RESOURCES
    with state.changing(state.records) as step:
        assert step.transaction.get(b"large") is None
        step.transaction.put(b"large", bytes(1 << 20))
