"""Channel sequence numbers over the wire (MS-SMB2 3.3.5.2.10): what comes late from a lost channel changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from lamina.core.wire import constants as smb
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import Served, new_file
from tests.support.wire_client import StatusError, WireClient

FSCTL_CREATE_OR_GET_OBJECT_ID = 0x000900C0
FILE_POSITION_INFORMATION = 14
REPLAY = smb.FLAGS_REPLAY_OPERATION

Change = Callable[..., Any]


def write(client: WireClient, file: Any, **header: int) -> None:
    body = encode_write_request(WriteRequest(file.persistent, file.volatile, 20, memoryview(b"data")))
    client.transact(smb.Command.WRITE, body, payload=4, **header).check()


def set_info(client: WireClient, file: Any, **header: int) -> None:
    client.set_info(file, 1, FILE_POSITION_INFORMATION, bytes(8), **header)


def ioctl(client: WireClient, file: Any, **header: int) -> None:
    client.ioctl(FSCTL_CREATE_OR_GET_OBJECT_ID, b"", file, 64, **header)


changes = pytest.mark.parametrize("change", [write, set_info, ioctl])


def refused(change: Change, client: WireClient, file: Any, **header: int) -> bool:
    try:
        change(client, file, **header)
    except StatusError as error:
        if error.status != NtStatus.FILE_NOT_AVAILABLE:
            raise
        return True
    return False


@changes
@pytest.mark.parametrize("flags", [0, REPLAY])
def test_what_has_an_older_number_changes_nothing(client: WireClient, change: Change, flags: int) -> None:
    file = new_file(client, channel_sequence=7)
    assert not refused(change, client, file, channel_sequence=8, flags=flags)
    assert refused(change, client, file, channel_sequence=7, flags=flags)
    assert not refused(change, client, file, channel_sequence=8, flags=flags)


@changes
def test_an_open_begins_with_the_number_of_its_create(client: WireClient, change: Change) -> None:
    file = new_file(client, channel_sequence=0x9000)
    assert refused(change, client, file, channel_sequence=0x8FFF)
    assert not refused(change, client, file, channel_sequence=0x9000)


def test_what_has_an_older_number_may_read(client: WireClient) -> None:
    file = new_file(client)
    client.write(file, b"data", channel_sequence=2)
    assert client.read(file, 4, channel_sequence=1) == b"data"
    client.query_info(file, 1, 5, channel_sequence=1)
    client.flush(file, channel_sequence=1)
    client.close(file, channel_sequence=1)


def test_reading_raises_the_number_too(client: WireClient) -> None:
    file = new_file(client)
    client.write(file, b"data")
    client.read(file, 4, channel_sequence=1)
    assert refused(write, client, file, channel_sequence=0)


def test_each_open_has_a_number_of_its_own(client: WireClient) -> None:
    first, second = new_file(client, "first"), new_file(client, "second")
    client.write(first, b"data", channel_sequence=1)
    client.write(second, b"data", channel_sequence=0)


@pytest.mark.parametrize("dialect", [0x202, 0x210])
def test_older_dialects_have_no_number(served: Served, dialect: int) -> None:
    client = served.connected(dialect)
    file = new_file(client)
    client.write(file, b"data", channel_sequence=5)
    client.write(file, b"data", channel_sequence=0)


def test_what_is_sent_again_waits_for_what_was_sent_before(client: WireClient) -> None:
    """A lock waits under the old number, so what it was sent with may still have to be done."""
    holder, waiter = new_file(client), new_file(client)
    client.lock(holder, [(0, 10, smb.LOCKFLAG_EXCLUSIVE_LOCK)])
    message_id = client.send_lock(waiter, [(0, 10, smb.LOCKFLAG_EXCLUSIVE_LOCK)])
    client.wait_interim(message_id)
    assert refused(write, client, waiter, channel_sequence=1, flags=REPLAY)
    client.write(waiter, b"new", offset=20, channel_sequence=1)
    client.lock(holder, [(0, 10, smb.LOCKFLAG_UNLOCK)])
    client.wait(message_id).check()
    assert not refused(write, client, waiter, channel_sequence=1, flags=REPLAY)
