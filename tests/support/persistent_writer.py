"""A client that goes on whatever happens to its server or its network, over one persistent open. For tests only.

It writes records into slots of a file, the later over the earlier, each under a lock that it holds for the time of
some more records. What was not answered it sends again when it is back, as a client should: locks with their sequence
numbers, so that none is taken twice (MS-SMB2 3.3.5.14), writes as replays. Every other error is the test's.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from lamina.core.wire import constants as smb
from lamina.core.wire.create_contexts import (
    DURABLE_HANDLE_RECONNECT_V2,
    DURABLE_HANDLE_REQUEST_V2,
    REQUEST_LEASE,
    LeaseContext,
    decode_lease,
    encode_lease,
)
from lamina.core.wire.durable_contexts import (
    DHANDLE_FLAG_PERSISTENT,
    DurableReconnect,
    DurableRequestV2,
    encode_durable_reconnect_v2,
    encode_durable_request_v2,
)
from lamina.core.wire.write import WriteRequest, decode_write_response, encode_write_request
from lamina.ntfsa.status import NtStatus
from tests.support.processes import User
from tests.support.wire_client import ConnectionClosedError, Open, StatusError, WireClient

SLOTS: Final = 32
SLOT_BYTES: Final = 512
HELD: Final = 3
"""Locks that are held at any time."""

LOCKS_AT: Final = 1 << 40
"""Where the locks lie: beyond all that is written."""

_CREATE_GUID: Final = b"persistent file "
_LEASE_KEY: Final = b"persistent lease"
_READ_WRITE_HANDLE: Final = 7
_LEASE_LEVEL: Final = 0xFF
_GENERIC_ALL: Final = 0x10000000
_OPEN_IF: Final = 3
_EXCLUSIVE: Final = 0x12
_UNLOCK: Final = 0x04
_PATIENCE: Final = 60.0
_LOST: Final = (ConnectionClosedError, OSError, TimeoutError)


class PersistentWriter:
    """Writes records to `name` until it is stopped. `connect` makes a connection with a tree; it may fail as it likes.

    `connect` is given the id of the session that was lost, 0 for none.
    """

    def __init__(self, connect: Callable[[int], WireClient], name: str = "records") -> None:
        self._connect = connect
        self.name = name
        self._client: WireClient | None = None
        self._session_id = 0
        self._file: Open | None = None
        self._answered = False
        self.acknowledged = 0
        """Records whose write was answered."""
        self.reconnected = 0
        """How often the open was given back."""
        self.stopped = threading.Event()
        self.ended = threading.Event()

    def run(self) -> None:
        """Write until `stopped` is set, then give the locks back and close."""
        try:
            self._write_until_stopped()
        finally:
            self.ended.set()

    def _write_until_stopped(self) -> None:
        number = 0
        while not self.stopped.is_set():
            self._lock(number, _EXCLUSIVE)
            self._do(lambda client, file, replay, n=number: _write(client, file, n, replay))  # type: ignore[misc]
            self.acknowledged = number + 1
            number += 1
            if number >= HELD:
                self._lock(number - HELD, _UNLOCK)
        for left in range(max(0, number - HELD + 1), number):
            self._lock(left, _UNLOCK)
        self._close()

    def wait_for(self, records: int) -> None:
        """Wait until so many more records are written, or no more are."""
        until = self.acknowledged + records
        deadline = time.monotonic() + _PATIENCE
        while self.acknowledged < until and not self.ended.is_set() and time.monotonic() < deadline:
            time.sleep(0.002)

    def expected(self, slot: int) -> bytes:
        """What a slot must hold at the end."""
        last = (self.acknowledged - 1 - slot) // SLOTS * SLOTS + slot
        return record(last) if last >= 0 else b""

    def expected_slots(self) -> list[bytes]:
        """What the file must hold at the end: each record unless a later one is in its place."""
        return [expected for slot in range(SLOTS) if (expected := self.expected(slot))]

    def _lock(self, number: int, flags: int) -> None:
        turn = number * 2 + (flags == _UNLOCK)
        sequence = (turn % 64 + 1) << 4 | turn // 64 % 16
        where = (LOCKS_AT + number, 1, flags)
        self._do(lambda client, file, replay: client.lock(file, [where], sequence, flags=replay))

    def _do(self, operation: Callable[[WireClient, Open, int], object]) -> None:
        replay = 0
        while True:
            client, file = self._opened()
            try:
                operation(client, file, replay)
            except _LOST:
                self._drop()
                replay = smb.FLAGS_REPLAY_OPERATION
            else:
                return

    def _close(self) -> None:
        while True:
            client, file = self._opened()
            try:
                client.close(file)
            except _LOST:
                self._drop()
                # It may have been closed, and only the answer is lost.
                try:
                    self._opened()
                except StatusError as error:
                    if error.status != NtStatus.OBJECT_NAME_NOT_FOUND:
                        raise
                    return
            else:
                return

    def _drop(self) -> None:
        assert self._client is not None
        if self._client.session is not None:
            self._session_id = self._client.session.session_id
        self._client.disconnect()
        self._client = None

    def _opened(self) -> tuple[WireClient, Open]:
        """The open, asked back over a new connection where the old one is lost."""
        until = time.monotonic() + _PATIENCE
        while self._client is None or self._file is None:
            assert time.monotonic() < until, "the server does not come back"
            client = None
            try:
                client = self._connect(self._session_id)
                self._file = self._open_on(client)
            except _LOST:
                if client is not None:
                    if client.session is not None:
                        self._session_id = client.session.session_id
                    client.disconnect()
                time.sleep(0.01)
            else:
                self._client = client
        return self._client, self._file

    def _open_on(self, client: WireClient) -> Open:
        lease = {REQUEST_LEASE: encode_lease(LeaseContext(_LEASE_KEY, _READ_WRITE_HANDLE, version=2))}
        options = {"access": _GENERIC_ALL, "disposition": _OPEN_IF, "oplock_level": _LEASE_LEVEL}
        if self._file is None:
            # The answer to a first CREATE may have been lost: the open is there then, known by its guid.
            with contextlib.suppress(StatusError):
                return client.create(self.name, contexts=lease | self._back(_unknown()), **options)
            asked = encode_durable_request_v2(DurableRequestV2(_CREATE_GUID, 0, DHANDLE_FLAG_PERSISTENT))
            return client.create(self.name, contexts=lease | {DURABLE_HANDLE_REQUEST_V2: asked}, **options)
        file = client.create(self.name, contexts=lease | self._back(self._file.file_id), **options)
        assert file.file_id == self._file.file_id
        assert decode_lease(file.response.contexts[REQUEST_LEASE]).state == _READ_WRITE_HANDLE
        self.reconnected += 1
        return file

    @staticmethod
    def _back(file_id: tuple[int, int]) -> dict[bytes, bytes]:
        asked = DurableReconnect(*file_id, _CREATE_GUID, DHANDLE_FLAG_PERSISTENT)
        return {DURABLE_HANDLE_RECONNECT_V2: encode_durable_reconnect_v2(asked)}


def _unknown() -> tuple[int, int]:
    return 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def record(number: int) -> bytes:
    """The bytes of a record: its number, again and again."""
    return b"%015d\n" % number * (SLOT_BYTES // 16)


def _write(client: WireClient, file: Open, number: int, replay: int) -> None:
    data = record(number)
    body = encode_write_request(WriteRequest(*file.file_id, number % SLOTS * SLOT_BYTES, memoryview(data)))
    answer = client.transact(smb.Command.WRITE, body, payload=len(data), flags=replay).check()
    assert decode_write_response(answer.message).written == len(data)


def connecting(
    user: User, port: Callable[[], int], timeout: float, share: str = "data", guid: bytes = b"persistent guid "
) -> Callable[[int], WireClient]:
    """How a client connects: with a tree, saying which session it has lost."""

    def connect(lost_session: int) -> WireClient:
        client = WireClient("127.0.0.1", port(), timeout, guid)
        try:
            client.negotiate()
            client.session_setup(user.name, user.password, previous_session_id=lost_session)
            client.tree_connect(share)
        except BaseException:
            client.disconnect()
            raise
        return client

    return connect


@contextlib.contextmanager
def writing(connect: Callable[[int], WireClient], name: str = "records") -> Iterator[PersistentWriter]:
    """A writer in a thread of its own; at the end it has closed its file, and its errors are the test's."""
    writer = PersistentWriter(connect, name)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            writer.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="writer")
    thread.start()
    try:
        while not writer.acknowledged and not errors:
            time.sleep(0.01)
        yield writer
    finally:
        writer.stopped.set()
        thread.join(90)
    if errors:
        raise errors[0]
    assert not thread.is_alive()


def slots_of(content: bytes) -> list[bytes]:
    """What a file of records has in its slots."""
    return [content[start : start + SLOT_BYTES] for start in range(0, len(content), SLOT_BYTES)]


def check_locks(connect: Callable[[int], WireClient], writer: PersistentWriter) -> None:
    """Every lock was given back as often as it was taken."""
    with connect(0) as client:
        file = client.create(writer.name, access=_GENERIC_ALL, disposition=1)
        first = max(0, writer.acknowledged - 4096)
        for number in range(first, writer.acknowledged, 64):
            client.lock(file, [(LOCKS_AT + number, min(64, writer.acknowledged - number), _EXCLUSIVE)])
