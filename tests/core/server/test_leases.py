"""Leases on the wire: contexts, notifications, acknowledgments (MS-SMB2 3.3.5.9.8, 3.3.5.9.11, 3.3.4.7, 3.3.5.22.2)."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.wire import constants as smb
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, decode_create_response, encode_create_request
from lamina.core.wire.create_contexts import (
    LEASE_FLAG_BREAK_IN_PROGRESS,
    LEASE_FLAG_PARENT_LEASE_KEY_SET,
    REQUEST_LEASE,
    LeaseContext,
    decode_lease,
    encode_lease,
)
from lamina.core.wire.oplock_break import (
    LeaseBreak,
    LeaseBreakNotification,
    OplockBreak,
    decode_lease_break,
    decode_lease_break_notification,
    encode_lease_break,
    encode_oplock_break,
)
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.ntfsa.constants import FILE_OPEN_IF, FILE_OVERWRITE_IF, READ_CONTROL
from lamina.ntfsa.grants.breaking import end_overdue
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.record import FileKey
from lamina.ntfsa.registry import MemoryRegistry, Registry
from lamina.ntfsa.status import NtStatus as S
from tests.support.granted import RH, RW, RWH, R, rights
from tests.support.served import GENERIC_ALL, PASSWORD, USER, Served, new_file
from tests.support.wire_client import ALL_DIALECTS, Open, Response, StatusError, WireClient

KEY, OTHER_KEY, PARENT = b"the lease key, 1", b"the lease key, 2", b"the parent's key"
NO_MESSAGE = 0xFFFFFFFFFFFFFFFF


def another_client(served: Served, guid: bytes = b"another client's", *dialects: int) -> WireClient:
    """A connection of a client with a guid of its own."""
    client = served.client(client_guid=guid)
    client.negotiate(dialects or ALL_DIALECTS)
    client.session_setup(USER, PASSWORD)
    client.tree_connect("data")
    return client


@pytest.fixture
def other(served: Served) -> WireClient:
    return another_client(served)


class Leased(NamedTuple):
    """An open of "file" with what its CREATE was told of the lease."""

    client: WireClient
    file: Open

    @property
    def context(self) -> LeaseContext:
        return decode_lease(self.file.response.contexts[REQUEST_LEASE])

    @property
    def state(self) -> int:
        return self.context.state

    def broken(self) -> LeaseBreakNotification:
        """The next notification."""
        return notification(self.client)

    def acknowledge(self, state: int, key: bytes = KEY) -> Response:
        return self.client.transact(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(key, state)))


def notification(client: WireClient) -> LeaseBreakNotification:
    response = client.recv()
    header = response.header
    assert (header.command, header.message_id) == (Command.OPLOCK_BREAK, NO_MESSAGE)
    assert (header.session_id, header.tree_id, header.status, header.credits) == (0, 0, 0, 0)
    assert not response.signed
    return decode_lease_break_notification(response.message)


def told_nothing(client: WireClient) -> bool:
    """Whether nothing has come since; an answer to something asked now comes after what was sent before."""
    client.echo()
    return not client.unclaimed


def wanted(state: int, key: bytes = KEY, version: int = 1, **fields: object) -> dict[bytes, bytes]:
    return {REQUEST_LEASE: encode_lease(LeaseContext(key, state, version=version)._replace(**fields))}


def lease(client: WireClient, state: int, key: bytes = KEY, version: int = 1, **fields: object) -> Leased:
    """Open "file", or make it, under a lease."""
    file = new_file(client, oplock_level=LEASE, contexts=wanted(state, key, version, **fields))
    assert file.response.oplock_level == LEASE
    return Leased(client, file)


def begin_open(client: WireClient, contexts: dict[bytes, bytes] | None = None, **fields: int) -> int:
    """Send a CREATE of "file" and see that it has to wait; its message id."""
    asked = CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF, 0, LEASE if contexts else NONE)
    message_id = client.send(Command.CREATE, encode_create_request(asked._replace(contexts=contexts or {}, **fields)))
    client.wait_interim(message_id)
    return message_id


def opened(client: WireClient, message_id: int) -> Leased:
    answer = decode_create_response(client.wait(message_id).check().message)
    return Leased(client, Open(answer.persistent, answer.volatile, answer))


# -- what is granted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [0, R, RH, RW, RWH], ids=rights)
def test_the_first_lease_is_what_it_asks_for(client: WireClient, state: int) -> None:
    assert lease(client, state).context == LeaseContext(KEY, state)


@pytest.mark.parametrize("state", [2, 4, 6], ids=rights)
def test_a_lease_that_does_not_read_is_of_nothing(client: WireClient, state: int) -> None:
    assert lease(client, state).context == LeaseContext(KEY, 0)


@pytest.mark.parametrize(("epoch", "told"), [(0, 1), (41, 42), (0xFFFF, 0)])
def test_version_two_counts_epochs(client: WireClient, epoch: int, told: int) -> None:
    assert lease(client, RWH, version=2, epoch=epoch).context == LeaseContext(KEY, RWH, 0, 2, bytes(16), told)


def test_version_two_gives_the_parents_key_back(client: WireClient) -> None:
    flags = LEASE_FLAG_PARENT_LEASE_KEY_SET
    context = lease(client, RWH, version=2, parent_key=PARENT, flags=flags).context
    assert (context.flags, context.parent_key) == (flags, PARENT)


def test_a_parents_key_without_its_flag_is_none(client: WireClient) -> None:
    context = lease(client, RWH, version=2, parent_key=PARENT).context
    assert (context.flags, context.parent_key) == (0, bytes(16))


def test_flags_of_a_request_that_mean_nothing_are_not_given_back(client: WireClient) -> None:
    context = lease(client, RWH, version=2, flags=0xFFFFFFFF & ~LEASE_FLAG_PARENT_LEASE_KEY_SET).context
    assert context.flags == 0


def test_version_one_has_no_flags(client: WireClient) -> None:
    assert lease(client, RWH, flags=0xFFFFFFFF).context.flags == 0


@pytest.mark.parametrize(("dialect", "version"), [(smb.DIALECT_202, 1), (smb.DIALECT_202, 2), (smb.DIALECT_210, 2)])
def test_a_dialect_without_leases_passes_them_over(served: Served, dialect: int, version: int) -> None:
    client = served.connected(dialect)
    file = new_file(client, oplock_level=LEASE, contexts=wanted(RWH, KEY, version))
    assert file.response.oplock_level == NONE
    assert REQUEST_LEASE not in file.response.contexts


@pytest.mark.parametrize(("dialect", "version"), [(smb.DIALECT_210, 1), (smb.DIALECT_300, 1), (smb.DIALECT_300, 2)])
def test_dialects_with_leases(served: Served, dialect: int, version: int) -> None:
    assert lease(served.connected(dialect), RWH, version=version).context.version == version


def test_a_lease_context_alone_asks_for_no_lease(client: WireClient) -> None:
    file = new_file(client, oplock_level=BATCH, contexts=wanted(R))
    assert file.response.oplock_level == BATCH
    assert REQUEST_LEASE not in file.response.contexts


def test_opens_of_one_lease_share_it(client: WireClient, other: WireClient) -> None:
    first = lease(client, RWH, version=2)
    second = lease(client, R, version=2, epoch=9)
    assert (second.state, second.context.epoch) == (RWH, first.context.epoch)
    client.close(first.file)
    waiting = begin_open(other)
    assert second.broken().new_state == RH
    second.acknowledge(RH).check()
    opened(other, waiting)
    assert told_nothing(client)


def test_a_lease_grows(client: WireClient) -> None:
    assert lease(client, R, version=2).context.epoch == 1
    assert lease(client, RH, version=2).context.epoch == 2
    grown = lease(client, RWH, version=2).context
    assert (grown.state, grown.epoch) == (RWH, 3)
    assert lease(client, RW, version=2).context == grown


def test_two_versions_of_one_lease_are_answered_as_it_began(client: WireClient) -> None:
    assert lease(client, RWH, version=2).context.version == 2
    again = lease(client, RWH, version=1, flags=LEASE_FLAG_PARENT_LEASE_KEY_SET).context
    assert (again.version, again.flags, again.parent_key) == (2, 0, bytes(16))


# -- breaks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "left"), [(RW, R), (RWH, RH)])
@pytest.mark.parametrize("version", [1, 2])
def test_an_open_waits_for_writes_to_come_back(
    client: WireClient, other: WireClient, version: int, held: int, left: int
) -> None:
    holder = lease(client, held, version=version)
    waiting = begin_open(other, wanted(RWH, OTHER_KEY))
    epoch = 2 if version == 2 else 0
    assert holder.broken() == LeaseBreakNotification(KEY, held, left, epoch, 1)
    answer = holder.acknowledge(left).check()
    assert decode_lease_break(answer.message) == LeaseBreak(KEY, left)
    assert opened(other, waiting).state == RH


@pytest.mark.parametrize("held", [R, RH])
def test_readers_and_handles_are_shared(client: WireClient, other: WireClient, held: int) -> None:
    lease(client, held)
    assert lease(other, RWH).state == RH
    assert told_nothing(client)


def test_reading_is_lost_without_an_answer(client: WireClient, other: WireClient) -> None:
    holder = lease(client, R)
    writer = new_file(other)
    other.write(writer, b"news")
    assert holder.broken() == LeaseBreakNotification(KEY, R, 0, 0, 0)
    assert holder.acknowledge(0).status == S.UNSUCCESSFUL
    other.write(writer, b"more")
    assert told_nothing(client)


def test_a_writer_does_not_wait_for_handles(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RH)
    other.write(new_file(other), b"news")
    assert holder.broken() == LeaseBreakNotification(KEY, RH, 0, 0, 1)
    holder.acknowledge(0).check()


def test_overwriting_takes_everything(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other, create_disposition=FILE_OVERWRITE_IF)
    assert holder.broken() == LeaseBreakNotification(KEY, RWH, 0, 0, 1)
    holder.acknowledge(0).check()
    opened(other, waiting)


def test_a_sharing_violation_waits_for_handles(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RH)
    waiting = begin_open(other, share_access=0)
    assert holder.broken() == LeaseBreakNotification(KEY, RH, R, 0, 1)
    client.close(holder.file)
    opened(other, waiting)


def test_a_handle_that_is_really_open_stays_a_sharing_violation(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RH)
    waiting = begin_open(other, share_access=0)
    holder.broken()
    holder.acknowledge(R).check()
    assert other.wait(waiting).status == S.SHARING_VIOLATION


def test_a_lock_takes_reading(client: WireClient, other: WireClient) -> None:
    locker = new_file(other)
    other.write(locker, b"data")
    holder = lease(client, R)
    other.lock(locker, [(0, 1, 0x12)])
    assert holder.broken().new_state == 0
    assert lease(client, RH).state == 0


def test_security_waits_for_handles(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RH)
    writer = new_file(other)
    descriptor = other.query_info(writer, 3, 0, additional=4)
    asked = SetInfoRequest(*writer.file_id, 3, 0, memoryview(descriptor), 4)
    waiting = other.send(Command.SET_INFO, encode_set_info_request(asked))
    assert holder.broken() == LeaseBreakNotification(KEY, RH, R, 0, 1)
    holder.acknowledge(R).check()
    other.wait(waiting).check()


def test_who_reads_the_descriptor_breaks_no_lease(client: WireClient, other: WireClient) -> None:
    lease(client, RWH)
    other.create("file", access=READ_CONTROL)
    assert told_nothing(client)


def test_what_is_done_under_the_lease_breaks_nothing(client: WireClient) -> None:
    holder = lease(client, RWH)
    again = lease(client, RWH)
    client.write(holder.file, b"news")
    client.lock(again.file, [(0, 1, 0x12)])
    client.set_info(again.file, 1, 20, bytes(8))
    assert told_nothing(client)


def test_one_client_with_two_keys_is_two(client: WireClient) -> None:
    holder = lease(client, RWH)
    message_id = client.send(
        Command.CREATE,
        encode_create_request(
            CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF, 0, LEASE, contexts=wanted(RWH, OTHER_KEY))
        ),
    )
    assert holder.broken() == LeaseBreakNotification(KEY, RWH, RH, 0, 1)
    holder.acknowledge(RH).check()
    assert opened(client, message_id).state == RH


def test_leases_and_oplocks_know_of_each_other(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RH)
    assert new_file(other, oplock_level=BATCH).response.oplock_level == NONE
    client.close(holder.file)
    assert new_file(other, "another", oplock_level=LEVEL_II).response.oplock_level == LEVEL_II
    beside = new_file(client, "another", oplock_level=LEASE, contexts=wanted(RWH))
    assert Leased(client, beside).state == R


def test_a_break_goes_on_in_steps(served: Served, client: WireClient, other: WireClient) -> None:
    third = another_client(served, b"the third client")
    holder = lease(client, RWH, version=2)
    first = begin_open(other)
    assert holder.broken() == LeaseBreakNotification(KEY, RWH, RH, 2, 1)
    second = begin_open(third, create_disposition=FILE_OVERWRITE_IF)
    holder.acknowledge(RH).check()
    assert holder.broken() == LeaseBreakNotification(KEY, RH, R, 2, 1)
    holder.acknowledge(R).check()
    assert holder.broken() == LeaseBreakNotification(KEY, R, 0, 2, 0)
    opened(other, first)
    opened(third, second)


def test_the_next_step_of_a_break_comes_after_the_answers_reply(client: WireClient, other: WireClient) -> None:
    """Or the client would believe the reply, which tells of more than it has."""
    holder = lease(client, RH)
    waiting = begin_open(other, share_access=0)
    holder.broken()
    third = write_without_lease(client)
    message_id = client.send(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(KEY, R)))
    reply, step = client.recv(), client.recv()
    assert (reply.header.message_id, step.header.message_id) == (message_id, NO_MESSAGE)
    assert decode_lease_break(reply.message) == LeaseBreak(KEY, R)
    assert decode_lease_break_notification(step.message)[1:3] == (R, 0)
    assert other.wait(waiting).status == S.SHARING_VIOLATION
    client.close(third)


def write_without_lease(client: WireClient) -> Open:
    """Write through an open without the lease: what it breaks, it breaks while another break goes on."""
    writer = new_file(client)
    client.write(writer, b"news")
    return writer


def test_an_open_under_the_lease_does_not_wait_for_its_break(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other)
    holder.broken()
    again = lease(client, RWH)
    assert (again.state, again.context.flags) == (RWH, LEASE_FLAG_BREAK_IN_PROGRESS)
    holder.acknowledge(RH).check()
    opened(other, waiting)


# -- answers ----------------------------------------------------------------------------------------------------------


def test_more_than_was_offered_is_not_accepted(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other)
    holder.broken()
    for more in (RW, RWH):
        assert holder.acknowledge(more).status == S.REQUEST_NOT_ACCEPTED
    assert told_nothing(other)
    holder.acknowledge(RH).check()
    opened(other, waiting)
    assert holder.acknowledge(RH).status == S.UNSUCCESSFUL


def test_less_than_was_offered_is_given_up(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other, wanted(RWH, OTHER_KEY))
    holder.broken()
    assert decode_lease_break(holder.acknowledge(0).check().message) == LeaseBreak(KEY, 0)
    # The other open is still there.
    assert opened(other, waiting).state == RH


def test_an_answer_for_nothing_is_refused(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    assert holder.acknowledge(RH).status == S.UNSUCCESSFUL
    assert holder.acknowledge(RH, OTHER_KEY).status == S.OBJECT_NAME_NOT_FOUND
    assert Leased(other, holder.file).acknowledge(RH).status == S.OBJECT_NAME_NOT_FOUND
    client.close(holder.file)
    assert holder.acknowledge(0).status == S.OBJECT_NAME_NOT_FOUND


def test_nobody_answers_for_another_client(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other)
    holder.broken()
    assert Leased(other, holder.file).acknowledge(0).status == S.OBJECT_NAME_NOT_FOUND
    holder.acknowledge(RH).check()
    opened(other, waiting)


def test_a_lease_is_not_answered_as_an_oplock(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other)
    holder.broken()
    body = encode_oplock_break(OplockBreak(*holder.file.file_id, LEVEL_II))
    assert client.transact(Command.OPLOCK_BREAK, body).status == S.INVALID_DEVICE_STATE
    holder.acknowledge(RH).check()
    opened(other, waiting)


# -- who is told, and who is gone -------------------------------------------------------------------------------------


def test_the_lease_of_a_client_is_one_on_all_its_connections(served: Served, client: WireClient) -> None:
    same = served.connected()
    first, second = lease(client, RWH, version=2), lease(same, RWH, version=2)
    assert second.state == RWH
    assert told_nothing(client)
    other = another_client(served)
    waiting = begin_open(other)
    assert first.broken().new_state == RH
    assert told_nothing(same)
    # Either of them may answer.
    second.acknowledge(RH).check()
    opened(other, waiting)


def test_when_a_connection_is_gone_another_of_the_client_is_told(served: Served, client: WireClient) -> None:
    same, other = served.connected(), another_client(served)
    lease(client, RWH, version=2)
    remaining = lease(same, RWH, version=2)
    client.disconnect()
    served.until(lambda: len(served.core.connections) == 2)
    waiting = begin_open(other)
    assert remaining.broken().new_state == RH
    remaining.acknowledge(RH).check()
    opened(other, waiting)


def test_version_one_is_told_on_its_sessions_connection(served: Served, client: WireClient) -> None:
    same = served.connected()
    holder = lease(same, RWH)
    waiting = begin_open(client, wanted(RWH, OTHER_KEY))
    assert holder.broken().new_state == RH
    holder.acknowledge(RH).check()
    opened(client, waiting)


@pytest.mark.parametrize("version", [1, 2])
def test_a_lost_holder_ends_the_break(client: WireClient, other: WireClient, version: int) -> None:
    holder = lease(client, RWH, version=version)
    waiting = begin_open(other, wanted(RWH))
    holder.broken()
    client.disconnect()
    assert opened(other, waiting).state == RWH


def test_a_logoff_ends_the_break(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other, wanted(RWH))
    holder.broken()
    client.logoff()
    assert opened(other, waiting).state == RWH


def test_a_break_that_nobody_answers_ends_by_itself(
    client: WireClient, other: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamina.ntfsa.grants.breaking.BREAK_SECONDS", 0.05)
    holder = lease(client, RWH)
    waiting = begin_open(other, wanted(RWH))
    holder.broken()
    assert opened(other, waiting).state == RH
    assert holder.acknowledge(RH).status == S.UNSUCCESSFUL
    # What it has lost it may ask for again.
    assert lease(client, RH).state == RH


def test_who_answers_in_time_is_not_punished(served: Served, client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH)
    waiting = begin_open(other, wanted(RWH, OTHER_KEY))
    holder.broken()
    volume = next(share.volume for share in served.core.shares if share.volume is not None)
    key, deadline = served.call(lambda: breaking_grant(volume.registry))
    holder.acknowledge(RH).check()
    opened(other, waiting)
    served.call(lambda: volume.registry.update(key, end_overdue, deadline))
    assert lease(client, R).state == RH


def breaking_grant(registry: Registry) -> tuple[FileKey, float]:
    """The file whose only grant breaks, and when the answer is due."""
    assert isinstance(registry, MemoryRegistry)
    found = [(key, grant.deadline) for key, record in registry.items() for grant in record.grants]
    (only,) = found
    return only


def test_an_encrypted_session_is_told_in_secret(serve: Callable[..., Served]) -> None:
    served = serve(encrypt=True)
    client, other = served.connected(), another_client(served)
    lease(client, R, version=2)
    other.write(new_file(other), b"news")
    response = client.recv()
    assert response.encrypted
    assert decode_lease_break_notification(response.message).new_state == 0


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_for_one_file(client: WireClient, other: WireClient) -> None:
    first = lease(client, R)
    new_file(other, "second")
    for name in ("second", "third"):
        with pytest.raises(StatusError) as refused:
            new_file(client, name, oplock_level=LEASE, contexts=wanted(R))
        assert refused.value.status == S.INVALID_PARAMETER
    with pytest.raises(StatusError) as missing:
        client.create("third")
    assert missing.value.status == S.OBJECT_NAME_NOT_FOUND
    client.close(first.file)
    assert new_file(client, "third", oplock_level=LEASE, contexts=wanted(R)).response.oplock_level == LEASE


def test_keys_are_each_clients_own(client: WireClient, other: WireClient) -> None:
    lease(client, RWH)
    elsewhere = new_file(other, "second", oplock_level=LEASE, contexts=wanted(RWH))
    assert Leased(other, elsewhere).state == RWH
    assert told_nothing(client)


def test_a_key_of_zeros_is_a_key(client: WireClient, other: WireClient) -> None:
    holder = lease(client, RWH, bytes(16))
    waiting = begin_open(other)
    assert holder.broken().lease_key == bytes(16)
    holder.acknowledge(RH, bytes(16)).check()
    opened(other, waiting)


def test_a_leases_end_leaves_nothing(served: Served, client: WireClient) -> None:
    volume = next(share.volume for share in served.core.shares if share.volume is not None)
    holder = lease(client, RWH)
    assert len(volume.leases) == 1
    client.close(holder.file)
    assert len(volume.leases) == 0


# -- hostile contexts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 51, 53, 64, 4096])
def test_a_context_of_another_length_is_refused(served: Served, client: WireClient, length: int) -> None:
    with pytest.raises(StatusError) as refused:
        new_file(client, oplock_level=LEASE, contexts={REQUEST_LEASE: bytes(length)})
    assert refused.value.status == S.INVALID_PARAMETER
    assert not served.counts()["opens"]


def test_states_that_do_not_exist_are_passed_over(client: WireClient) -> None:
    assert lease(client, 0xFFFFFFF8 | RWH).state == RWH


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=32, max_size=32) | st.binary(min_size=52, max_size=52))
def test_any_bytes_are_a_lease_of_something_possible(data: bytes) -> None:
    """What the decoder lets through encodes again as the same."""
    context = decode_lease(data)
    assert 0 <= context.state <= RWH
    assert decode_lease(encode_lease(context)) == context
