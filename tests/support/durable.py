"""Clients that lose their connections, and the create contexts by which they get their open files back."""

from collections.abc import Callable

import pytest

from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import (
    DURABLE_HANDLE_RECONNECT,
    DURABLE_HANDLE_RECONNECT_V2,
    DURABLE_HANDLE_REQUEST,
    DURABLE_HANDLE_REQUEST_V2,
    REQUEST_LEASE,
    LeaseContext,
    encode_lease,
)
from lamina.core.wire.durable_contexts import (
    DurableReconnect,
    DurableRequestV2,
    encode_durable_reconnect,
    encode_durable_reconnect_v2,
    encode_durable_request,
    encode_durable_request_v2,
)
from lamina.ntfsa.constants import FILE_OPEN_IF
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.status import NtStatus as S
from tests.support.granted import RWH
from tests.support.served import GENERIC_ALL, PASSWORD, USER, Served, new_file
from tests.support.wire_client import ALL_DIALECTS, Open, StatusError, WireClient

GUID, OTHER_GUID = b"the create guid ", b"another guid    "
KEY, OTHER_KEY = b"the lease key, 1", b"the lease key, 2"
CLIENT, OTHER_CLIENT = b"wire-client-guid", b"another client's"
EXCLUSIVE_LOCK, UNLOCK = 0x12, 0x04


class Kept:
    """A server, and clients that lose their connections."""

    def __init__(self, served: Served) -> None:
        self.served = served

    @property
    def waiting(self) -> int:
        return self.served.call(lambda: len(self.served.core.durables))

    @property
    def files(self) -> int:
        """How many files of the share are open."""
        volumes = [share.volume for share in self.served.core.shares if share.volume is not None]
        return self.served.call(lambda: sum(volume.open_count() for volume in volumes))

    def connect(
        self, guid: bytes = CLIENT, user: str = USER, password: str = PASSWORD, dialects: tuple[int, ...] = ALL_DIALECTS
    ) -> WireClient:
        client = self.served.client(client_guid=guid)
        client.negotiate(dialects)
        client.session_setup(user, password)
        client.tree_connect("data")
        return client

    def cut(self, client: WireClient) -> None:
        """Cut the connection, and wait until the server has done with it."""
        before = len(self.served.call(lambda: set(self.served.core.sessions)))
        client.disconnect()
        self.served.until(lambda: len(self.served.core.sessions) < before)
        self.served.until(lambda: not self.served.core.engine.running)

    def expire(self) -> None:
        """The time of all opens without a client is over."""

        def end_all() -> None:
            for open_ in self.served.core.durables.waiting():
                self.served.core.durables.end(open_)

        self.served.call(end_all)
        self.served.until(lambda: not self.served.core.engine.running)

    def let_go(self) -> None:
        """Disconnect the clients, and let the time of all that they leave be over."""
        core = self.served.core
        self.served.disconnect()
        self.served.until(lambda: not core.connections and not core.sessions)
        self.served.on_loop(core.durables.close())


def asked_v2(guid: bytes = GUID, timeout: int = 0, flags: int = 0) -> dict[bytes, bytes]:
    return {DURABLE_HANDLE_REQUEST_V2: encode_durable_request_v2(DurableRequestV2(guid, timeout, flags))}


def asked_v1() -> dict[bytes, bytes]:
    return {DURABLE_HANDLE_REQUEST: encode_durable_request()}


def leased(state: int, key: bytes = KEY, version: int = 2) -> dict[bytes, bytes]:
    return {REQUEST_LEASE: encode_lease(LeaseContext(key, state, version=version))}


def back_v2(file: Open, guid: bytes = GUID, flags: int = 0) -> dict[bytes, bytes]:
    asked = DurableReconnect(*file.file_id, guid, flags)
    return {DURABLE_HANDLE_RECONNECT_V2: encode_durable_reconnect_v2(asked)}


def back_v1(file: Open) -> dict[bytes, bytes]:
    return {DURABLE_HANDLE_RECONNECT: encode_durable_reconnect(DurableReconnect(*file.file_id))}


def with_oplock(client: WireClient, contexts: dict[bytes, bytes], name: str = "file", **fields: int) -> Open:
    return new_file(client, name, oplock_level=BATCH, contexts=contexts, **fields)


def with_lease(client: WireClient, contexts: dict[bytes, bytes], state: int = RWH, name: str = "file") -> Open:
    return new_file(client, name, oplock_level=LEASE, contexts=leased(state) | contexts)


def begin_open(client: WireClient) -> int:
    """Send a CREATE of "file" and see that it has to wait; its message id."""
    body = encode_create_request(CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF))
    message = client.send(Command.CREATE, body)
    client.wait_interim(message)
    return message


def refused(call: Callable[[], object]) -> S:
    with pytest.raises(StatusError) as caught:
        call()
    return S(caught.value.status)
