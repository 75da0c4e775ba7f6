"""CHANGE_NOTIFY on the wire: requests that wait, and all the ways in which they end."""

import struct
from collections.abc import Callable

import pytest

from lamina.core.settings import Limits
from lamina.core.wire import constants as smb
from lamina.core.wire.change_notify import (
    ChangeNotifyRequest,
    decode_change_notify_response,
    encode_change_notify_request,
)
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.flush import FlushRequest, encode_flush_request
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.ntfsa.status import NtStatus as S
from tests.support.served import GENERIC_ALL, Served, new_file
from tests.support.wire_client import ALL_DIALECTS, RELATED_FILE, Open, Response, WireClient

NAMES = 0x3
WATCH_TREE = 0x1
DIRECTORY_FILE = 0x1
FILE_CREATE = 2
EXCLUSIVE, UNLOCK = 0x2, 0x4


def root(client: WireClient, access: int = GENERIC_ALL) -> Open:
    """The share's root directory."""
    return client.create("", access=access, options=DIRECTORY_FILE)


def changes(response: Response) -> list[tuple[int, str]]:
    """The (action, name) pairs of a response that tells of changes."""
    assert response.status == S.SUCCESS
    entries = decode_change_notify_response(response.message)
    records, offset = [], 0
    while True:
        following, action, length = struct.unpack_from("<III", entries, offset)
        records.append((action, bytes(entries[offset + 12 : offset + 12 + length]).decode("utf-16-le")))
        if not following:
            return records
        offset += following


@pytest.fixture
def other(served: Served) -> WireClient:
    """A second client of the share."""
    return served.connected()


@pytest.mark.parametrize("dialect", ALL_DIALECTS)
def test_a_change_by_another_client_answers_the_request(served: Served, dialect: int) -> None:
    client, other = served.connected(dialect), served.connected()
    waiting = client.send_change_notify(root(client), NAMES)
    client.wait_interim(waiting)
    other.close(new_file(other, "file"))
    answer = client.wait(waiting)
    assert answer.signed
    assert changes(answer) == [(1, "file")]


def test_an_encrypted_answer_to_an_encrypted_request(serve: Callable[..., Served]) -> None:
    served = serve(encrypt=True)
    client = served.connected()
    waiting = client.send_change_notify(root(client), NAMES)
    assert client.wait_interim(waiting).encrypted
    client.close(new_file(client, "file"))
    answer = client.wait(waiting)
    assert answer.encrypted
    assert changes(answer) == [(1, "file")]


def test_changes_between_two_requests_are_kept_and_told_at_once(client: WireClient, other: WireClient) -> None:
    directory = root(client)
    first = client.send_change_notify(directory, NAMES)
    client.wait_interim(first)
    other.close(new_file(other, "one"))
    assert changes(client.wait(first)) == [(1, "one")]
    other.close(new_file(other, "two"))
    other.close(new_file(other, "three"))
    second = client.send_change_notify(directory, 0)
    answer = client.recv()
    assert answer.header.message_id == second
    assert changes(answer) == [(1, "two"), (1, "three")]


def test_requests_on_one_handle_are_answered_in_their_order(client: WireClient, other: WireClient) -> None:
    directory = root(client)
    waiting = [client.send_change_notify(directory, NAMES) for _ in range(3)]
    for name in "abc":
        other.close(new_file(other, name))
    assert [changes(client.wait(request)) for request in waiting] == [[(1, name)] for name in "abc"]


def test_a_tree_is_watched_to_its_leaves(client: WireClient) -> None:
    client.close(client.create("dir", disposition=FILE_CREATE, options=DIRECTORY_FILE))
    flat, deep = root(client), root(client)
    waiting = client.send_change_notify(deep, NAMES, WATCH_TREE)
    shallow = client.send_change_notify(flat, NAMES)
    client.wait_interim(waiting)
    client.wait_interim(shallow)
    client.close(new_file(client, "dir\\file"))
    assert changes(client.wait(waiting)) == [(1, "dir\\file")]
    client.close(new_file(client, "file"))
    assert changes(client.wait(shallow)) == [(1, "file")]


def test_what_has_no_room_is_told_without_names(client: WireClient) -> None:
    waiting = client.send_change_notify(root(client), NAMES, max_length=8)
    client.wait_interim(waiting)
    client.close(new_file(client, "file"))
    answer = client.wait(waiting)
    assert answer.status == S.NOTIFY_ENUM_DIR
    assert not decode_change_notify_response(answer.message)


@pytest.mark.parametrize("told_pending", [True, False])
def test_cancel(client: WireClient, told_pending: bool) -> None:
    waiting = client.send_change_notify(root(client), NAMES)
    async_id = client.wait_interim(waiting).header.async_id if told_pending else 0
    client.cancel(waiting, async_id)
    answer = client.wait(waiting)
    assert answer.status == S.CANCELLED
    assert answer.header.async_id


def test_closing_the_directory_ends_the_request(client: WireClient) -> None:
    directory = root(client)
    waiting = client.send_change_notify(directory, NAMES)
    client.wait_interim(waiting)
    client.close(directory)
    assert client.wait(waiting).status == S.NOTIFY_CLEANUP


@pytest.mark.parametrize("leave", [WireClient.tree_disconnect, WireClient.logoff])
def test_leaving_the_tree_or_the_session_ends_the_request(
    client: WireClient, leave: Callable[[WireClient], Response]
) -> None:
    waiting = client.send_change_notify(root(client), NAMES)
    client.wait_interim(waiting)
    assert leave(client).status == S.SUCCESS
    assert client.wait(waiting).status == S.NOTIFY_CLEANUP


def test_a_lost_connection_leaves_nothing(served: Served, client: WireClient, other: WireClient) -> None:
    waiting = client.send_change_notify(root(client), NAMES)
    client.wait_interim(waiting)
    client.disconnect()
    served.until(lambda: served.core.counts()["sessions"] == 1)
    other.close(new_file(other, "file"))
    served.until(lambda: all(share.volume is None or share.volume.watchers is None for share in served.core.shares))


@pytest.mark.parametrize(
    ("access", "name", "status"),
    [(0x80, "", S.ACCESS_DENIED), (GENERIC_ALL, "file", S.INVALID_PARAMETER)],
)
def test_what_cannot_be_watched(client: WireClient, access: int, name: str, status: S) -> None:
    client.close(new_file(client, "file"))
    opened = client.create(name, access=access)
    assert client.wait(client.send_change_notify(opened, NAMES)).status == status


def test_only_so_many_requests_of_a_connection_may_wait(serve: Callable[..., Served]) -> None:
    client = serve(limits=Limits(pending_requests=2)).connected()
    directory = root(client)
    waiting = [client.send_change_notify(directory, NAMES) for _ in range(2)]
    for request in waiting:
        client.wait_interim(request)
    assert client.wait(client.send_change_notify(directory, NAMES)).status == S.INSUFFICIENT_RESOURCES
    client.close(new_file(client, "file"))
    assert changes(client.wait(waiting[0])) == [(1, "file")]
    client.wait_interim(client.send_change_notify(directory, NAMES))


def test_an_answer_longer_than_negotiated_is_refused(client: WireClient) -> None:
    assert client.negotiated is not None
    too_long = client.negotiated.max_transact_size + 1
    assert client.wait(client.send_change_notify(root(client), NAMES, max_length=too_long)).status == (
        S.INVALID_PARAMETER
    )


def test_a_request_that_would_wait_within_a_compound_fails(client: WireClient) -> None:
    directory = root(client)
    notify = ChangeNotifyRequest(*directory.file_id, NAMES, 4096)
    close = CloseRequest(*RELATED_FILE)
    refused, closed = client.compound(
        [(Command.CHANGE_NOTIFY, encode_change_notify_request(notify)), (Command.CLOSE, encode_close_request(close))]
    )
    assert (refused.status, closed.status) == (S.INTERNAL_ERROR, S.SUCCESS)
    assert not refused.header.async_id


def test_nor_may_a_lock_wait_within_a_compound(client: WireClient, other: WireClient) -> None:
    holder, file = new_file(other), new_file(client)
    other.lock(holder, [(0, 1, EXCLUSIVE)])
    asked = LockRequest(*file.file_id, (WireLock(0, 1, EXCLUSIVE),))
    flush = FlushRequest(*RELATED_FILE)
    refused, flushed = client.compound(
        [(Command.LOCK, encode_lock_request(asked)), (Command.FLUSH, encode_flush_request(flush))]
    )
    assert (refused.status, flushed.status) == (S.INTERNAL_ERROR, S.SUCCESS)
    # Nor does it wait on unseen.
    other.lock(holder, [(0, 1, UNLOCK)])
    other.lock(holder, [(0, 1, EXCLUSIVE)])


def test_the_last_request_of_a_compound_may_wait(client: WireClient) -> None:
    directory = root(client)
    second = root(client)
    notify = ChangeNotifyRequest(*directory.file_id, NAMES, 4096)
    chain, (closing, waiting) = client.build_chain(
        [
            (Command.CLOSE, encode_close_request(CloseRequest(*second.file_id))),
            (Command.CHANGE_NOTIFY, encode_change_notify_request(notify)),
        ],
        related=False,
    )
    client.send_message(chain)
    first, interim = client.recv_chain()
    assert (first.header.message_id, first.status) == (closing, S.SUCCESS)
    assert (interim.header.message_id, interim.status) == (waiting, S.PENDING)
    assert interim.header.flags & smb.FLAGS_ASYNC_COMMAND
    client.cancel(waiting, interim.header.async_id)
    assert client.wait(waiting).status == S.CANCELLED
