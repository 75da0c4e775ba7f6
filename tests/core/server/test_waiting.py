"""Requests that wait: interim responses and CANCEL (MS-SMB2 3.3.4.2, 3.3.5.16), and the end of what they wait in."""

import os
import struct
from collections.abc import Callable

import pytest

from lamina.core.wire import constants as smb
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import REQUEST_LEASE, LeaseContext, encode_lease
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.core.wire.oplock_break import LeaseBreak, decode_lease_break_notification, encode_lease_break
from lamina.core.wire.query_directory import QueryDirectoryRequest, encode_query_directory_request
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.ntfsa.constants import DELETE, FILE_OPEN
from lamina.ntfsa.constants import FILE_RENAME_INFORMATION as FILE_RENAME
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.listing import directory
from lamina.ntfsa.status import NtStatus
from tests.support.granted import RH
from tests.support.served import PASSWORD, USER, Served, new_file
from tests.support.wire_client import RELATED_FILE, Open, WireClient

SHARED, EXCLUSIVE, UNLOCK, AT_ONCE = 1, 2, 4, 0x10
ECHO = (smb.Command.ECHO, encode_empty())


def lock_body(file: Open, flags: int = EXCLUSIVE) -> bytes:
    return encode_lock_request(LockRequest(*file.file_id, (WireLock(0, 10, flags),), 0))


def close_body(file: Open) -> bytes:
    return encode_close_request(CloseRequest(*file.file_id))


@pytest.fixture
def holder(served: Served) -> tuple[WireClient, Open]:
    """A client that has bytes 0 to 10 of "file" locked."""
    client = served.connected()
    file = new_file(client)
    client.lock(file, [(0, 10, EXCLUSIVE | AT_ONCE)])
    return client, file


@pytest.fixture
def waiter(served: Served, holder: tuple[WireClient, Open]) -> tuple[WireClient, Open, int, int]:
    """A client whose LOCK waits: client, file, message id and async id."""
    client = served.connected()
    file = new_file(client)
    waiting = client.send(smb.Command.LOCK, lock_body(file))
    interim = client.wait_interim(waiting)
    assert interim.header.flags & smb.FLAGS_ASYNC_COMMAND
    return client, file, waiting, interim.header.async_id


Waiter = tuple[WireClient, Open, int, int]
Holder = tuple[WireClient, Open]


def test_a_lock_that_waits_is_announced_and_granted_later(holder: Holder, waiter: Waiter) -> None:
    client, _, waiting, async_id = waiter
    client.echo()
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    final = client.wait(waiting)
    assert final.status == NtStatus.SUCCESS
    assert final.header.async_id == async_id
    assert final.header.credits == 0
    assert final.signed


@pytest.mark.parametrize("by", ["message id", "async id"])
def test_cancel_ends_the_wait(waiter: Waiter, by: str) -> None:
    client, file, waiting, async_id = waiter
    client.cancel(waiting, async_id if by == "async id" else 0)
    assert client.wait(waiting).status == NtStatus.CANCELLED
    client.write(file, b"x", offset=50)


def test_cancel_is_not_answered_and_costs_nothing(waiter: Waiter) -> None:
    client, _, waiting, async_id = waiter
    for _ in range(3):
        client.cancel(waiting, async_id)
    client.wait(waiting)
    echo = client.send(*ECHO)
    assert client.recv().header.message_id == echo


def test_a_cancelled_lock_is_not_taken_when_it_is_free(served: Served, holder: Holder, waiter: Waiter) -> None:
    client, _, waiting, async_id = waiter
    client.cancel(waiting, async_id)
    client.wait(waiting)
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    third = served.connected()
    third.lock(new_file(third), [(0, 10, EXCLUSIVE | AT_ONCE)])


@pytest.mark.parametrize("async_id", [0, 999, (1 << 64) - 1])
def test_cancel_of_nothing_is_passed_over(client: WireClient, async_id: int) -> None:
    client.cancel(999, async_id)
    client.echo()


def test_cancel_of_another_request_leaves_the_wait_alone(holder: Holder, waiter: Waiter) -> None:
    client, _, waiting, async_id = waiter
    client.cancel(waiting + 1)
    client.cancel(waiting, async_id + 1)
    client.echo()
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    assert client.wait(waiting).status == NtStatus.SUCCESS


def test_cancel_from_another_connection_is_passed_over(served: Served, holder: Holder, waiter: Waiter) -> None:
    client, _, waiting, async_id = waiter
    other = served.connected()
    other.cancel(waiting, async_id)
    other.echo()
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    assert client.wait(waiting).status == NtStatus.SUCCESS


def test_cancel_with_a_wrong_signature_is_passed_over(holder: Holder, waiter: Waiter) -> None:
    client, _, waiting, async_id = waiter
    message = client.build(
        smb.Command.CANCEL, encode_empty(), message_id=waiting, async_id=async_id, flags=smb.FLAGS_ASYNC_COMMAND
    )
    message[48] ^= 1
    client.send_message(message)
    client.echo()
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    assert client.wait(waiting).status == NtStatus.SUCCESS


# -- in compounds --------------------------------------------------------------------------------------------------


def test_the_last_request_of_a_compound_may_wait(served: Served, holder: Holder) -> None:
    client = served.connected()
    file = new_file(client)
    chain, (echo, waiting) = client.build_chain([ECHO, (smb.Command.LOCK, lock_body(file))], related=False)
    client.send_message(chain)
    first, second = client.recv_chain()
    assert (first.header.message_id, first.status) == (echo, NtStatus.SUCCESS)
    assert (second.header.message_id, second.status) == (waiting, NtStatus.PENDING)
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    assert client.wait(waiting).status == NtStatus.SUCCESS


def test_a_rename_within_a_compound_waits_until_nobody_caches_a_handle(served: Served) -> None:
    """As Linux renames what it has open itself."""
    client, key = served.connected(), b"the lease key, 1"
    new_file(client, oplock_level=LEASE, contexts={REQUEST_LEASE: encode_lease(LeaseContext(key, RH))})
    name = "renamed".encode("utf-16-le")
    renaming = SetInfoRequest(*RELATED_FILE, 1, FILE_RENAME, memoryview(struct.pack("<16xI", len(name)) + name))
    requests = [
        (smb.Command.CREATE, encode_create_request(CreateRequest("file", DELETE, 0, 7, FILE_OPEN, 0))),
        (smb.Command.SET_INFO, encode_set_info_request(renaming)),
        (smb.Command.CLOSE, encode_close_request(CloseRequest(*RELATED_FILE, 0))),
    ]
    chain, sent = client.build_chain(requests)
    client.send_message(chain)
    client.wait(sent[0]).check()
    assert decode_lease_break_notification(client.recv().message).new_state == 1
    client.transact(smb.Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(key, 1))).check()
    assert [client.wait(one).status for one in sent[1:]] == [0, 0]
    assert os.listdir(served.folder) == ["renamed"]


def test_a_request_that_is_not_the_last_may_not_wait_and_the_others_are_served(served: Served, holder: Holder) -> None:
    client = served.connected()
    file = new_file(client)
    locks = (smb.Command.LOCK, lock_body(file))
    responses = client.compound([ECHO, locks, ECHO], related=False)
    assert [response.status for response in responses] == [0, NtStatus.INTERNAL_ERROR, 0]
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    client.lock(file, [(0, 10, EXCLUSIVE | AT_ONCE)])


def test_a_wait_at_the_end_of_a_compound_is_cancelled_by_message_id(served: Served, holder: Holder) -> None:
    client = served.connected()
    file = new_file(client)
    chain, (echo, waiting) = client.build_chain([ECHO, (smb.Command.LOCK, lock_body(file))], related=False)
    client.send_message(chain)
    client.cancel(echo)
    client.echo()
    client.cancel(waiting)
    assert client.wait(waiting).status == NtStatus.CANCELLED


# -- the end of what is waited in ------------------------------------------------------------------------------------


def test_a_close_ends_the_wait(waiter: Waiter) -> None:
    client, file, waiting, _ = waiter
    closing = client.send(smb.Command.CLOSE, close_body(file))
    assert client.wait(waiting).status == NtStatus.RANGE_NOT_LOCKED
    assert client.wait(closing).status == NtStatus.SUCCESS


def test_a_close_lets_what_is_being_done_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who waits for somebody does so no longer (smb2.compound_find.compound_find_close, smb2.ioctl.bug14769)."""
    monkeypatch.setattr(directory, "LISTED_AT_ONCE", 1)
    for number in range(50):
        (served.folder / f"file{number}").touch()
    client = served.connected()
    folder = client.create("", access=1, options=1)
    asked = QueryDirectoryRequest(*folder.file_id, 37, "*", 65536, 0, 0)
    listing = client.send(smb.Command.QUERY_DIRECTORY, encode_query_directory_request(asked))
    closing = client.send(smb.Command.CLOSE, close_body(folder))
    assert client.wait(listing).status == NtStatus.SUCCESS
    assert client.wait(closing).status == NtStatus.SUCCESS


@pytest.mark.parametrize("command", [smb.Command.TREE_DISCONNECT, smb.Command.LOGOFF])
def test_the_end_of_the_tree_or_session_ends_the_wait(served: Served, waiter: Waiter, command: int) -> None:
    client, _, waiting, _ = waiter
    ending = client.send(command, encode_empty())
    assert client.wait(waiting).status == NtStatus.RANGE_NOT_LOCKED
    assert client.wait(ending).status == NtStatus.SUCCESS
    assert served.counts()["opens"] == 1


def test_a_lost_connection_ends_the_wait(served: Served, holder: Holder, waiter: Waiter) -> None:
    waiter[0].disconnect()
    served.until(lambda: len(served.core.connections) == 1 and not served.core.engine.running)
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    holder[0].lock(holder[1], [(0, 10, EXCLUSIVE | AT_ONCE)])


def test_the_holder_that_goes_away_lets_the_waiter_have_the_lock(holder: Holder, waiter: Waiter) -> None:
    holder[0].disconnect()
    assert waiter[0].wait(waiter[2]).status == NtStatus.SUCCESS


def test_a_new_logon_that_names_the_session_ends_its_wait(served: Served, waiter: Waiter) -> None:
    client, _, waiting, _ = waiter
    assert client.session is not None
    again = served.negotiated()
    again.session_setup(USER, PASSWORD, previous_session_id=client.session.session_id)
    assert client.wait(waiting).status == NtStatus.RANGE_NOT_LOCKED


def test_the_server_closes_while_locks_wait(serve: Callable[..., Served]) -> None:
    served = serve()
    first, second = served.connected(), served.connected()
    first.lock(new_file(first), [(0, 10, EXCLUSIVE | AT_ONCE)])
    waiting = second.send(smb.Command.LOCK, lock_body(new_file(second)))
    second.wait_interim(waiting)
    core = served.core
    served.server.close()
    assert core.engine.running == 0
    assert core.counts()["opens"] == 0
    assert second.is_closed_by_server()


def test_many_locks_wait_at_a_time_and_all_end(served: Served, holder: Holder) -> None:
    client = served.connected()
    file = new_file(client)
    waiting = [client.send(smb.Command.LOCK, lock_body(file)) for _ in range(50)]
    served.until(lambda: served.core.engine.running == 50)
    for message_id in waiting[::2]:
        client.cancel(message_id)
    assert [client.wait(m).status for m in waiting[::2]] == [NtStatus.CANCELLED] * 25
    client.disconnect()
    served.until(lambda: not served.core.engine.running)


def test_a_message_that_waits_keeps_its_bytes_while_others_arrive(served: Served, holder: Holder) -> None:
    client = served.connected()
    file = new_file(client)
    lock = encode_lock_request(LockRequest(*file.file_id, (WireLock(0, 10, EXCLUSIVE),), 0))
    waiting = client.send(smb.Command.LOCK, lock)
    served.until(lambda: served.core.engine.running)
    other = new_file(client, "other")
    for _ in range(20):
        client.write(other, b"\xee" * 60_000)
    holder[0].lock(holder[1], [(0, 10, UNLOCK)])
    assert client.wait(waiting).status == NtStatus.SUCCESS


def test_what_is_cancelled_is_answered_before_what_was_sent_behind_the_cancel(
    waiter: tuple[WireClient, Open, int, int],
) -> None:
    client, _, waiting, async_id = waiter
    header = {"message_id": waiting, "async_id": async_id, "flags": smb.FLAGS_ASYNC_COMMAND}
    cancel = client.build(smb.Command.CANCEL, encode_empty(), **header)
    echo = client.build(*ECHO)
    client.send_bytes(b"".join(len(each).to_bytes(4, "big") + each for each in (cancel, echo)))
    assert client.recv().status == NtStatus.CANCELLED
    assert client.recv().header.command == smb.Command.ECHO
