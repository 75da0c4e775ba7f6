from lamina.ntfsa.constants import FILE_READ_DATA, FILE_SHARE_ALL
from lamina.ntfsa.locks.byte_range import lock, unlock
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.record import EMPTY_RECORD, LOCK_GRANTED, LockRange, Message
from lamina.ntfsa.registry import MemoryRegistry, Registry
from lamina.ntfsa.status import NtStatus

KEY = (1, 2, "")


def test_a_record_lives_as_long_as_an_open() -> None:
    memory = MemoryRegistry()
    registry: Registry = memory
    owner = registry.new_owner()
    assert registry.update(KEY, open_file, owner, FILE_READ_DATA, FILE_SHARE_ALL).result == NtStatus.SUCCESS
    assert [entry.owner for entry in registry.read(KEY).opens] == [owner]
    assert [key for key, _ in memory.items()] == [KEY]
    assert registry.update(KEY, close_file, owner).result.last
    assert registry.read(KEY) is EMPTY_RECORD
    assert len(memory) == 0


def test_streams_of_one_file_are_separate() -> None:
    registry = MemoryRegistry()
    assert registry.update(KEY, open_file, 1, FILE_READ_DATA, 0).result == NtStatus.SUCCESS
    assert registry.update((1, 2, "S"), open_file, 2, FILE_READ_DATA, 0).result == NtStatus.SUCCESS
    assert registry.update(KEY, open_file, 3, FILE_READ_DATA, 0).result == NtStatus.SHARING_VIOLATION


def test_messages_reach_their_owner_only_while_subscribed() -> None:
    registry = MemoryRegistry()
    seen: list[Message] = []
    for owner in (1, 2):
        registry.update(KEY, open_file, owner, FILE_READ_DATA, FILE_SHARE_ALL)
    whole = [LockRange(0, 10, True)]
    registry.subscribe(2, seen.append)
    registry.update(KEY, lock, 1, whole)
    assert registry.update(KEY, lock, 2, whole, 7).result == NtStatus.PENDING
    registry.update(KEY, unlock, 1, 0, 10)
    assert seen == [Message(2, LOCK_GRANTED, (7,))]
    registry.unsubscribe(2)
    registry.unsubscribe(2)
    registry.update(KEY, lock, 2, [LockRange(20, 1, True)])
    registry.update(KEY, lock, 2, [LockRange(20, 1, True)], 8)
    registry.update(KEY, unlock, 2, 20, 1)
    assert len(seen) == 1


def test_owners_are_never_the_same() -> None:
    registry = MemoryRegistry()
    assert len({registry.new_owner() for _ in range(100)}) == 100
