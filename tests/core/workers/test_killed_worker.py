"""Durable opens outlive the worker process they were made in, and go to another (see docs/workers.md)."""

from collections.abc import Callable

import pytest

from lamina.core.wire.constants import Command
from lamina.ntfsa.constants import DELETE
from lamina.ntfsa.status import NtStatus as S
from tests.support.crew import Crew, worker
from tests.support.durable import (
    EXCLUSIVE_LOCK,
    UNLOCK,
    asked_v1,
    asked_v2,
    back_v1,
    back_v2,
    begin_open,
    leased,
    with_lease,
    with_oplock,
)
from tests.support.granted import RWH
from tests.support.served import GENERIC_ALL
from tests.support.wire_client import Open, StatusError, WireClient

SEQUENCE = 1 << 4 | 3
Asking = Callable[[], dict[bytes, bytes]]
Back = Callable[[Open], dict[bytes, bytes]]
VERSIONS = pytest.mark.parametrize(("asked", "back"), [(asked_v1, back_v1), (asked_v2, back_v2)], ids=["v1", "v2"])


@VERSIONS
def test_a_durable_open_is_given_back_with_its_locks(crew: Crew, asked: Asking, back: Back) -> None:
    first, other = crew.in_each()
    file = with_oplock(first, asked())
    first.write(file, b"written before")
    first.lock(file, [(0, 5, EXCLUSIVE_LOCK)])
    crew.kill(worker(first))
    again = crew.client(first.client_guid)
    assert worker(again) == worker(first)
    regained = again.create("file", access=GENERIC_ALL, oplock_level=9, contexts=back(file))
    assert regained.file_id == file.file_id
    assert again.read(regained, 20) == b"written before"
    assert regained.response.oplock_level == 9
    again.close(regained)
    assert other.create("file", access=GENERIC_ALL).file_id


def in_a_stream(client: WireClient, contexts: dict[bytes, bytes]) -> Open:
    file = with_oplock(client, contexts, "file:stream", share=0)
    client.write(file, b"in the stream")
    client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    return file


def check_stream(client: WireClient, regained: Open, other: WireClient) -> None:
    """All that was held is, until it is closed: also what the file knows of its streams."""
    assert client.read(regained, 20) == b"in the stream"
    client.lock(regained, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    with pytest.raises(StatusError) as error:
        other.create("file", access=DELETE)
    assert error.value.status == S.SHARING_VIOLATION
    client.close(regained)
    other.close(other.create("file", access=DELETE))


def test_an_open_of_a_stream_is_given_back(crew: Crew) -> None:
    first, other = crew.in_each()
    file = in_a_stream(first, asked_v2())
    crew.kill(worker(first))
    again = crew.client(first.client_guid)
    regained = again.create("file:stream", access=GENERIC_ALL, oplock_level=9, contexts=back_v2(file))
    assert regained.file_id == file.file_id
    check_stream(again, regained, other)


def test_an_open_of_a_stream_goes_to_another_worker(crew: Crew) -> None:
    first, other = crew.in_each()
    file = in_a_stream(first, asked_v2())
    first.disconnect()
    regained = other.create("file:stream", access=GENERIC_ALL, oplock_level=9, contexts=back_v2(file))
    assert regained.file_id == file.file_id
    check_stream(other, regained, crew.client(first.client_guid))


def test_a_lock_that_is_sent_again_is_not_taken_twice(crew: Crew) -> None:
    first, _ = crew.in_each()
    file = with_oplock(first, asked_v2())
    first.lock(file, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    crew.kill(worker(first))
    again = crew.client(first.client_guid)
    regained = again.create("file", access=GENERIC_ALL, oplock_level=9, contexts=back_v2(file))
    again.lock(regained, [(0, 5, EXCLUSIVE_LOCK)], SEQUENCE)
    again.lock(regained, [(0, 5, UNLOCK)], SEQUENCE + 16)
    again.close(regained)


def test_a_lease_goes_on(crew: Crew) -> None:
    first, _ = crew.in_each()
    file = with_lease(first, asked_v2())
    crew.kill(worker(first))
    again = crew.client(first.client_guid)
    regained = again.create("file", access=GENERIC_ALL, oplock_level=0xFF, contexts=back_v2(file) | leased(RWH))
    assert regained.file_id == file.file_id
    again.close(regained)


def test_whoever_wants_the_file_meanwhile_gets_it(crew: Crew) -> None:
    first, other = crew.in_each()
    file = with_oplock(first, asked_v2())
    crew.kill(worker(first))
    assert other.create("file", access=GENERIC_ALL).file_id
    again = crew.client(first.client_guid)
    with pytest.raises(StatusError) as error:
        again.create("file", access=GENERIC_ALL, oplock_level=9, contexts=back_v2(file))
    assert error.value.status == S.OBJECT_NAME_NOT_FOUND


@VERSIONS
def test_a_client_that_calls_itself_otherwise_finds_its_open_on_another_worker(
    crew: Crew, asked: Asking, back: Back
) -> None:
    first, other = crew.in_each()
    file = with_oplock(first, asked(), share=0)
    first.write(file, b"written before")
    first.lock(file, [(0, 5, EXCLUSIVE_LOCK)])
    first.disconnect()
    regained = other.create("file", access=GENERIC_ALL, oplock_level=9, contexts=back(file))
    assert regained.file_id == file.file_id
    assert other.read(regained, 20) == b"written before"
    third = crew.client(first.client_guid)
    assert worker(third) == worker(first)
    held = begin_open(third)
    assert other.recv().header.command == Command.OPLOCK_BREAK
    other.close(regained)
    assert third.wait(held).status == S.SUCCESS
