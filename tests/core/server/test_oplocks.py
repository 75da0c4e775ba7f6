"""Oplocks on the wire: what is granted, who is told of a break, and what ends one (MS-SMB2 3.3.4.6, 3.3.5.22.1)."""

from typing import NamedTuple

import pytest

from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, decode_create_response, encode_create_request
from lamina.core.wire.oplock_break import OplockBreak, decode_oplock_break, encode_oplock_break
from lamina.ntfsa.constants import FILE_OVERWRITE_IF, FILE_READ_ATTRIBUTES
from lamina.ntfsa.grants.breaking import end_overdue
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.registry import MemoryRegistry
from lamina.ntfsa.status import NtStatus as S
from tests.support.served import GENERIC_ALL, Served, new_file
from tests.support.wire_client import Open, Response, StatusError, WireClient

NO_MESSAGE = 0xFFFFFFFFFFFFFFFF


class Holder(NamedTuple):
    """A client that holds an oplock on the file "file"."""

    client: WireClient
    file: Open

    def broken(self) -> int:
        """The level of the next notification, which must be for this file."""
        response = self.client.recv()
        header = response.header
        assert (header.command, header.message_id) == (Command.OPLOCK_BREAK, NO_MESSAGE)
        assert (header.session_id, header.tree_id, header.status, header.credits) == (0, 0, 0, 0)
        assert not response.signed
        told = decode_oplock_break(response.message)
        assert (told.persistent, told.volatile) == self.file.file_id
        return told.oplock_level

    def acknowledge(self, level: int) -> Response:
        body = encode_oplock_break(OplockBreak(*self.file.file_id, level))
        return self.client.transact(Command.OPLOCK_BREAK, body)

    def told_nothing(self) -> bool:
        """Whether nothing has come since; an answer to something asked now comes after what was sent before."""
        self.client.echo()
        return not self.client.unclaimed


def hold(client: WireClient, level: int, granted: int | None = None, **options: int) -> Holder:
    file = new_file(client, oplock_level=level, **options)
    assert file.response.oplock_level == (level if granted is None else granted)
    return Holder(client, file)


def begin_open(client: WireClient, level: int = NONE, share: int = 7, disposition: int = 1) -> int:
    """Send a CREATE of the file and see that it has to wait; its message id."""
    body = encode_create_request(CreateRequest("file", GENERIC_ALL, 0, share, disposition, 0, level))
    message_id = client.send(Command.CREATE, body)
    client.wait_interim(message_id)
    return message_id


def opened(client: WireClient, message_id: int) -> Open:
    answer = decode_create_response(client.wait(message_id).check().message)
    return Open(answer.persistent, answer.volatile, answer)


@pytest.fixture
def other(served: Served) -> WireClient:
    return served.connected()


@pytest.mark.parametrize("level", [NONE, LEVEL_II, EXCLUSIVE, BATCH])
def test_the_first_open_has_what_it_asks_for(client: WireClient, level: int) -> None:
    hold(client, level)


def test_a_lease_that_is_asked_for_is_none(client: WireClient) -> None:
    hold(client, LEASE, NONE)


def test_a_directory_has_no_oplock(client: WireClient) -> None:
    assert client.create("", oplock_level=BATCH).response.oplock_level == NONE


@pytest.mark.parametrize("level", [EXCLUSIVE, BATCH])
def test_a_second_open_waits_for_the_acknowledgment(client: WireClient, other: WireClient, level: int) -> None:
    holder = hold(client, level)
    waiting = begin_open(other, BATCH)
    assert holder.broken() == LEVEL_II
    answer = holder.acknowledge(LEVEL_II).check()
    assert decode_oplock_break(answer.message) == OplockBreak(*holder.file.file_id, LEVEL_II)
    assert opened(other, waiting).response.oplock_level == LEVEL_II


def test_giving_everything_up_leaves_the_next_one_level_two(client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH)
    waiting = begin_open(other, BATCH)
    holder.broken()
    holder.acknowledge(NONE).check()
    assert opened(other, waiting).response.oplock_level == LEVEL_II


def test_overwriting_breaks_to_none(client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH)
    waiting = begin_open(other, disposition=FILE_OVERWRITE_IF)
    assert holder.broken() == NONE
    holder.acknowledge(NONE).check()
    opened(other, waiting)


def test_closing_answers_a_break(client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH)
    waiting = begin_open(other, BATCH)
    holder.broken()
    client.close(holder.file)
    assert opened(other, waiting).response.oplock_level == BATCH


def test_a_lost_holder_ends_the_break(client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH)
    waiting = begin_open(other, BATCH)
    holder.broken()
    client.disconnect()
    assert opened(other, waiting).response.oplock_level == BATCH


def test_a_break_that_nobody_answers_ends_by_itself(served: Served, client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH)
    waiting = begin_open(other, BATCH)
    holder.broken()
    volume = next(share.volume for share in served.core.shares if share.volume is not None)

    def let_time_pass() -> None:
        registry = volume.registry
        assert isinstance(registry, MemoryRegistry)
        (key, record), *_ = registry.items()
        registry.update(key, end_overdue, record.grants[0].deadline)

    served.call(let_time_pass)
    assert opened(other, waiting).response.oplock_level == LEVEL_II
    assert holder.acknowledge(NONE).status == S.INVALID_OPLOCK_PROTOCOL


def test_batch_is_broken_before_sharing_is_checked(client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH, share=0)
    waiting = begin_open(other)
    assert holder.broken() == LEVEL_II
    holder.acknowledge(LEVEL_II).check()
    assert other.wait(waiting).status == S.SHARING_VIOLATION


def test_exclusive_is_not_broken_by_who_may_not_share(client: WireClient, other: WireClient) -> None:
    holder = hold(client, EXCLUSIVE, share=0)
    with pytest.raises(StatusError) as refused:
        new_file(other)
    assert refused.value.status == S.SHARING_VIOLATION
    assert holder.told_nothing()


def test_looking_at_attributes_breaks_nothing(client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH)
    other.create("file", access=FILE_READ_ATTRIBUTES)
    assert holder.told_nothing()


def test_an_open_that_looks_at_attributes_is_not_in_the_way(client: WireClient, other: WireClient) -> None:
    other.close(new_file(other))
    other.create("file", access=FILE_READ_ATTRIBUTES)
    hold(client, BATCH)


def test_a_write_ends_level_two(client: WireClient, other: WireClient) -> None:
    holder = hold(client, LEVEL_II)
    writer = new_file(other)
    assert holder.told_nothing()
    other.write(writer, b"news")
    assert holder.broken() == NONE
    other.write(writer, b"more")
    assert holder.told_nothing()
    assert holder.acknowledge(NONE).status == S.INVALID_OPLOCK_PROTOCOL


def test_a_lock_ends_level_two_and_hinders_the_next(client: WireClient, other: WireClient) -> None:
    holder = hold(client, LEVEL_II)
    locker = new_file(other)
    other.lock(locker, [(0, 1, 0x12)])
    assert holder.broken() == NONE
    hold(client, LEVEL_II, NONE)


def test_a_new_size_ends_level_two(client: WireClient, other: WireClient) -> None:
    holder = hold(client, LEVEL_II)
    other.set_info(new_file(other), 1, 20, bytes(8))
    assert holder.broken() == NONE


def test_a_cancelled_open_leaves_the_break_to_go_on(client: WireClient, other: WireClient) -> None:
    holder = hold(client, BATCH)
    body = encode_create_request(CreateRequest("file", GENERIC_ALL, 0, 7, 1, 0, NONE))
    message_id = other.send(Command.CREATE, body)
    interim = other.wait_interim(message_id)
    holder.broken()
    other.cancel(message_id, interim.header.async_id)
    assert other.wait(message_id).status == S.CANCELLED
    holder.acknowledge(LEVEL_II).check()
    new_file(other)


def test_a_waiting_open_that_loses_its_connection_leaves_nothing(
    served: Served, client: WireClient, other: WireClient
) -> None:
    holder = hold(client, BATCH)
    begin_open(other)
    holder.broken()
    other.disconnect()
    served.until(lambda: served.core.counts()["requests"] == 0)
    client.close(holder.file)


@pytest.mark.parametrize(
    ("level", "status"),
    [(LEASE, S.INVALID_PARAMETER), (BATCH, S.INVALID_OPLOCK_PROTOCOL), (7, S.INVALID_OPLOCK_PROTOCOL)],
)
def test_an_impossible_answer_ends_the_break(client: WireClient, other: WireClient, level: int, status: S) -> None:
    holder = hold(client, EXCLUSIVE)
    waiting = begin_open(other)
    holder.broken()
    assert holder.acknowledge(level).status == status
    opened(other, waiting)
    assert holder.acknowledge(NONE).status == S.INVALID_OPLOCK_PROTOCOL


def test_an_answer_for_nothing_is_refused(client: WireClient) -> None:
    assert Holder(client, new_file(client, "other")).acknowledge(NONE).status == S.INVALID_DEVICE_STATE
    holder = hold(client, BATCH)
    assert holder.acknowledge(NONE).status == S.INVALID_DEVICE_STATE
    client.close(holder.file)
    assert holder.acknowledge(NONE).status == S.FILE_CLOSED


def test_what_the_holder_did_meanwhile_counts(client: WireClient, other: WireClient) -> None:
    """The holder deletes the file while the break waits: the newcomer finds no such name."""
    holder = hold(client, BATCH)
    waiting = begin_open(other)
    holder.broken()
    client.set_info(holder.file, 1, 13, b"\x01")
    client.close(holder.file)
    assert other.wait(waiting).status == S.OBJECT_NAME_NOT_FOUND


def test_one_client_may_break_its_own_oplock(client: WireClient) -> None:
    holder = hold(client, BATCH)
    body = encode_create_request(CreateRequest("file", GENERIC_ALL, 0, 7, 1, 0, NONE))
    waiting = client.send(Command.CREATE, body)
    assert holder.broken() == LEVEL_II
    holder.acknowledge(LEVEL_II).check()
    opened(client, waiting)


def test_an_encrypted_session_is_told_in_secret(serve) -> None:  # type: ignore[no-untyped-def]
    served = serve(encrypt=True)
    client, other = served.connected(), served.connected()
    file = new_file(client, oplock_level=LEVEL_II)
    other.write(new_file(other), b"news")
    response = client.recv()
    assert response.encrypted
    assert decode_oplock_break(response.message) == OplockBreak(*file.file_id, NONE)
