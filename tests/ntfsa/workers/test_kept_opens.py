"""What is known of opens that outlive their worker: whoever is killed when, each is one worker's and no other's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.ntfsa.constants import FILE_READ_DATA, FILE_SHARE_ALL, FILE_WRITE_DATA
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH
from lamina.ntfsa.grants.granting import grant_oplock
from lamina.ntfsa.locks.byte_range import lock
from lamina.ntfsa.opening.sharing import open_file
from lamina.ntfsa.record import LockRange
from lamina.ntfsa.streams.stream_opens import keys_of_open
from lamina.ntfsa.workers.awaited_names import AwaitedNames
from lamina.ntfsa.workers.kept_opens import (
    Intent,
    KeptOpen,
    adopt,
    forget_open,
    intend,
    intent_of,
    is_recovered,
    keep_open,
    kept_by,
    kept_ids,
    lose_clients,
    note_recovered,
)
from lamina.ntfsa.workers.numbers import worker_of
from lamina.ntfsa.workers.renumbering import Numbers
from lamina.ntfsa.workers.shared_registry import SharedRegistry
from lamina.ntfsa.workers.shared_state import SharedState

STREAM = (1, 2, "stream")
OPEN_ID = 77


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SharedState]:
    bells = {number: os.eventfd(0) for number in (1, 2)}
    made = SharedState(tmp_path, 1, bells)
    yield made
    made.close()
    for bell in bells.values():
        os.close(bell)


def opened(state: SharedState, name: bytes = b"") -> KeptOpen:
    """An open of a stream with an oplock and a lock, which is kept."""
    registry = SharedRegistry(state)
    owner, address = registry.new_owner(), registry.new_owner()
    for key in keys_of_open(STREAM):
        registry.update(key, open_file, owner, FILE_READ_DATA | FILE_WRITE_DATA, FILE_SHARE_ALL, 0, True)
    registry.update(STREAM, grant_oplock, owner, address, OPLOCK_LEVEL_BATCH)
    registry.update(STREAM, lock, owner, [LockRange(0, 5, True)])
    kept = KeptOpen(OPEN_ID, owner, STREAM, address, b"form", name)
    keep_open(state, kept)
    return kept


def test_it_becomes_another_worker_s_in_all_its_records_at_once(state: SharedState) -> None:
    kept, registry = opened(state), SharedRegistry(state)
    intend(state, OPEN_ID, Intent(1, 2, 3))
    new = Numbers(registry.new_owner_for(2), registry.new_owner_for(2))
    after = adopt(state, kept, 1, 2, new)
    assert after == kept._replace(owner=new.owner, address=new.address)
    assert worker_of(new.owner) == 2
    for key in keys_of_open(STREAM):
        assert [entry.owner for entry in registry.read(key).opens] == [new.owner]
    record = registry.read(STREAM)
    assert [(grant.owners, grant.address) for grant in record.grants] == [((new.owner,), new.address)]
    assert [held.owner for held in record.locks] == [new.owner]
    assert kept_by(state, 1) == []
    assert kept_by(state, 2) == [after]
    assert kept_ids(state) == {OPEN_ID}


def test_what_has_gone_to_another_worker_is_not_taken_twice(state: SharedState) -> None:
    kept, registry = opened(state), SharedRegistry(state)
    new = Numbers(registry.new_owner_for(2), registry.new_owner_for(2))
    adopt(state, kept, 1, 2, new)
    again = Numbers(registry.new_owner(), registry.new_owner())
    assert adopt(state, kept, 1, 1, again) is None
    assert [entry.owner for entry in registry.read(STREAM).opens] == [new.owner]


def test_what_it_was_about_to_do_is_known_until_it_is_done(state: SharedState) -> None:
    kept = opened(state)
    assert intent_of(state, OPEN_ID) is None
    intend(state, OPEN_ID, Intent(3, 4, 1))
    assert intent_of(state, OPEN_ID) == Intent(3, 4, 1)
    assert kept_by(state, 1) == [kept]
    keep_open(state, kept)
    assert intent_of(state, OPEN_ID) is None
    intend(state, OPEN_ID, Intent(3, 4, 1))
    forget_open(state, OPEN_ID)
    assert intent_of(state, OPEN_ID) is None


def test_it_is_awaited_from_the_end_of_its_worker_until_it_is_forgotten(state: SharedState) -> None:
    names = AwaitedNames(state, "share")
    kept = opened(state, names.known_as("Folder\\File:stream"))
    assert not names.has("folder\\file")
    assert lose_clients(state, 1) == [kept]
    assert names.has("FOLDER\\file")
    assert not names.has("folder\\file 2")
    assert not AwaitedNames(state, "other").has("folder\\file")
    forget_open(state, OPEN_ID)
    assert not names.has("folder\\file")


def test_two_that_wait_under_one_name_do_so_each_for_itself(state: SharedState) -> None:
    names = AwaitedNames(state, "share")
    names.begin("file", 1)
    names.begin("FILE", 2)
    names.end("file", 1)
    assert names.has("file")
    names.end("file", 2)
    assert not names.has("file")


def test_that_a_share_is_back_is_no_open(state: SharedState) -> None:
    assert not is_recovered(state, "share")
    note_recovered(state, "share")
    assert is_recovered(state, "share")
    assert not is_recovered(state, "other")
    assert kept_ids(state) == set()
