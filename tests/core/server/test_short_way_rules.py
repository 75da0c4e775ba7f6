"""The short way serves nobody whom the long way refuses: who may not, is not safe enough, or comes too late."""

import functools
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from lamina.core import dispatch
from lamina.core.connection import Connection
from lamina.core.session import SessionState
from lamina.core.wire import constants as smb
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus as S
from tests.support.served import SECOND_PASSWORD, SECOND_USER, Served, new_file
from tests.support.wire_client import Open, WireClient

EXCLUSIVE = 0x2


@dataclass
class Tried:
    """A client with a file that it may read and write, on a connection that uses the short way, or does not."""

    served: Served
    client: WireClient
    file: Open
    connection: Connection

    def read(self) -> tuple[int, bytes]:
        return Command.READ, encode_read_request(ReadRequest(*self.file.file_id, 0, 4))

    def write(self) -> tuple[int, bytes]:
        return Command.WRITE, encode_write_request(WriteRequest(*self.file.file_id, 0, memoryview(b"gone")))

    def close(self) -> tuple[int, bytes]:
        return Command.CLOSE, encode_close_request(CloseRequest(*self.file.file_id))

    def in_one_go(self, *requests: tuple[int, bytes], sign: bool | None = None) -> list[int]:
        """What is answered to requests that arrive together."""
        client = self.client
        first = client.message_id
        messages = [client.build(command, body, sign=sign) for command, body in requests]
        for message in messages:
            if sign is None:
                client.sign(message)
        client.send_bytes(b"".join(struct.pack(">I", len(message)) + message for message in messages))
        return [client.wait(number).status for number in range(first, client.message_id)]

    def session(self):  # type: ignore[no-untyped-def]  # the server's own
        return self.served.core.sessions[self.client.session.session_id]  # type: ignore[union-attr]

    def content(self) -> bytes:
        return (self.served.folder / "file").read_bytes()


@pytest.fixture(params=["short", "long"])
def tried(request: pytest.FixtureRequest, serve: Callable[..., Served]) -> Tried:
    served = serve()
    (served.folder / "file").write_bytes(b"kept")
    client = served.connected()
    client.transact(Command.ECHO, encode_empty(), credits=64)
    connection = served.connection_of(client)
    if request.param == "long":
        served.call(lambda: setattr(connection, "execute", functools.partial(dispatch.execute)))
    return Tried(served, client, new_file(client), connection)


def test_a_request_without_a_signature_where_one_is_required(tried: Tried) -> None:
    tried.served.call(lambda: setattr(tried.session(), "signing_required", True))
    tried.client.verify_signatures = False
    assert tried.in_one_go(tried.read(), tried.write(), sign=False) == [S.ACCESS_DENIED] * 2
    assert tried.content() == b"kept"


def test_a_request_in_plain_text_where_the_session_is_encrypted(tried: Tried) -> None:
    tried.served.call(lambda: setattr(tried.session(), "encrypt_data", True))
    assert tried.in_one_go(tried.read(), tried.write()) == [S.ACCESS_DENIED] * 2
    assert tried.content() == b"kept"


def test_a_request_in_plain_text_for_a_share_that_wants_encryption_since(tried: Tried) -> None:
    (tree,) = tried.session().trees.values()
    tried.served.call(lambda: setattr(tree.share, "encrypt", True))
    assert tried.in_one_go(tried.read(), tried.write()) == [S.ACCESS_DENIED] * 2
    assert tried.content() == b"kept"


def test_a_request_that_is_encrypted_with_the_key_of_another_session(tried: Tried) -> None:
    client, mine = tried.client, tried.client.session
    client.session_setup(SECOND_USER, SECOND_PASSWORD)
    theirs, client.session = client.session, mine
    assert theirs is not None
    assert mine is not None
    for command, body in (tried.read(), tried.write()):
        message = client.build(command, body, sign=False)
        client.session = theirs
        client.send_message(message, encrypt=True)
        assert client.recv().status == S.ACCESS_DENIED
        client.session = mine
    assert tried.content() == b"kept"


def test_an_open_of_another_session_of_the_connection(tried: Tried) -> None:
    client = tried.client
    client.session_setup(SECOND_USER, SECOND_PASSWORD)
    client.tree_connect("data")
    assert tried.in_one_go(tried.read(), tried.write()) == [S.FILE_CLOSED] * 2
    assert tried.content() == b"kept"


def test_an_open_of_another_tree_of_the_session(tried: Tried) -> None:
    tried.client.tree_connect("data")
    assert tried.in_one_go(tried.read(), tried.write()) == [S.FILE_CLOSED] * 2
    assert tried.content() == b"kept"


def test_a_session_whose_time_is_over(tried: Tried) -> None:
    tried.served.call(lambda: setattr(tried.session(), "expires_at", time.time() - 1))
    statuses = tried.in_one_go(tried.read(), tried.write(), (Command.ECHO, encode_empty()))
    assert statuses == [S.NETWORK_SESSION_EXPIRED] * 2 + [S.SUCCESS]
    assert tried.session().state is SessionState.EXPIRED
    assert tried.in_one_go(tried.read(), tried.write()) == [S.NETWORK_SESSION_EXPIRED] * 2
    assert tried.content() == b"kept"
    tried.served.call(lambda: setattr(tried.session(), "state", SessionState.VALID))


def test_what_comes_behind_a_close(tried: Tried) -> None:
    statuses = tried.in_one_go(tried.read(), tried.close(), tried.read(), tried.write())
    assert statuses == [S.SUCCESS, S.SUCCESS, S.FILE_CLOSED, S.FILE_CLOSED]
    assert tried.content() == b"kept"


def test_what_comes_behind_the_end_of_its_tree(tried: Tried) -> None:
    statuses = tried.in_one_go(tried.read(), (Command.TREE_DISCONNECT, encode_empty()), tried.read(), tried.write())
    assert statuses[:2] == [S.SUCCESS] * 2
    assert set(statuses[2:]) <= {S.NETWORK_NAME_DELETED, S.FILE_CLOSED}
    assert tried.content() == b"kept"


def test_what_comes_behind_the_end_of_its_session(tried: Tried) -> None:
    tried.client.verify_signatures = False
    statuses = tried.in_one_go((Command.LOGOFF, encode_empty()), tried.read(), tried.write())
    assert statuses == [S.SUCCESS, S.USER_SESSION_DELETED, S.USER_SESSION_DELETED]
    assert tried.content() == b"kept"


def test_a_range_that_another_has_locked_just_before(tried: Tried) -> None:
    client = tried.client
    other = new_file(client)
    lock = encode_lock_request(LockRequest(*other.file_id, (WireLock(0, 10, EXCLUSIVE),)))
    statuses = tried.in_one_go(tried.read(), (Command.LOCK, lock), tried.read(), tried.write())
    assert statuses == [S.SUCCESS, S.SUCCESS, S.FILE_LOCK_CONFLICT, S.FILE_LOCK_CONFLICT]
    assert tried.content() == b"kept"


@pytest.mark.parametrize("access", [0x1, 0x2, 0x80])
def test_only_what_the_open_may(tried: Tried, access: int) -> None:
    tried.file = tried.client.create("file", access=access)
    statuses = tried.in_one_go(tried.read(), tried.write())
    assert statuses == [S.SUCCESS if access == wanted else S.ACCESS_DENIED for wanted in (0x1, 0x2)]
    assert (tried.content() == b"kept") == (access != 0x2)


def test_a_message_that_is_sent_twice(tried: Tried) -> None:
    command, body = tried.read()
    message = tried.client.build(command, body)
    tried.client.sign(message)
    frames: Sequence[bytes] = [struct.pack(">I", len(message)) + message] * 2
    tried.client.send_bytes(b"".join(frames))
    tried.served.until(lambda: tried.connection.closed)


def test_an_encrypted_message_that_is_sent_twice(tried: Tried) -> None:
    command, body = tried.write()
    sealed = bytes(tried.client.seal(tried.client.build(command, body, sign=False)))
    tried.client.send_bytes((struct.pack(">I", len(sealed)) + sealed) * 2)
    tried.served.until(lambda: tried.connection.closed)


def test_a_reply_that_is_sent_to_the_server(tried: Tried) -> None:
    command, body = tried.write()
    message = tried.client.build(command, body, flags=smb.FLAGS_SERVER_TO_REDIR)
    tried.client.sign(message)
    tried.client.send_bytes(struct.pack(">I", len(message)) + message)
    tried.served.until(lambda: tried.connection.closed)
    assert tried.content() == b"kept"
