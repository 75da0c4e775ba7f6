"""The short way answers what the long way answers, and steps aside where a request waits or somebody traces."""

import contextlib
import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lamina
from lamina.core import dispatch, outgoing
from lamina.core.connection import Connection
from lamina.core.settings import Limits
from lamina.core.wire import constants as smb
from lamina.core.wire.constants import Command
from lamina.core.wire.header import pack_header_into
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.engine import Task, sleep
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.services.request_view import RequestView, current_request
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.token import ImpersonationToken
from lamina.vfs_modules.workers import Answer
from tests.support.served import PASSWORD, USER, Served, new_file
from tests.support.wire_client import ConnectionClosedError, Open, WireClient

_CONTENT = bytes(range(256)) * 200


@dataclass(frozen=True)
class Sent:
    """One request, and what is odd about it."""

    command: int
    offset: int
    length: int
    minimum: int = 0
    file: int = 0
    persistent: int = 0
    rdma: int = 0
    shift: int = 0
    size: int = 0
    flags: int = 0
    sequence: int = 0
    charge: int = 1
    credits: int = 1
    tree: int = 0
    session: int = 0
    cut: int = 0
    skip: int = 0
    protect: bool = True
    spoil: bool = False


def _rarely(usual: int, *others: int) -> st.SearchStrategy[int]:
    return st.one_of(*[st.just(usual)] * 9, st.sampled_from(others))


_SENT = st.builds(
    Sent,
    command=st.sampled_from([Command.ECHO, Command.READ, Command.WRITE]),
    offset=st.sampled_from([0, 1, 4096, 50_000, 51_200, 60_000, (1 << 63) - 2, (1 << 64) - 1]),
    length=st.sampled_from(
        [0, 1, 100, 4096, outgoing.LONGEST_IN_PAGE, outgoing.LONGEST_IN_PAGE + 1, 65536, 65537, 131_072]
    ),
    minimum=_rarely(0, 1, 5000),
    file=_rarely(0, 1),
    persistent=_rarely(0, 1, 2),
    rdma=_rarely(0, 1),
    shift=_rarely(0, -1, 1, 5),
    size=_rarely(0, 1),
    flags=_rarely(0, 0x10, smb.FLAGS_REPLAY_OPERATION, smb.FLAGS_RELATED_OPERATIONS, smb.FLAGS_DFS_OPERATIONS),
    sequence=_rarely(0, 1, 0xFFFF, 0x10000),
    charge=_rarely(1, 0, 2, 3),
    credits=st.sampled_from([0, 1, 4]),
    tree=_rarely(0, 1),
    session=_rarely(0, 1),
    cut=_rarely(0, 1, 40),
    skip=_rarely(0, 0, 0, -1, 1000),
    protect=st.sampled_from([True] * 19 + [False]),
    spoil=st.sampled_from([False] * 19 + [True]),
)


def _body(sent: Sent, file: Open) -> bytes:
    persistent = (file.persistent, file.persistent + 1, 0xFFFFFFFFFFFFFFFF)[sent.persistent]
    volatile = file.volatile + sent.file
    if sent.command == Command.ECHO:
        body = bytearray(b"\4\0\0\0")
    elif sent.command == Command.READ:
        asked = ReadRequest(persistent, volatile, sent.offset, sent.length, sent.minimum, channel=sent.rdma)
        body = bytearray(encode_read_request(asked))
    else:
        written = memoryview(_CONTENT * 2)[: sent.length]
        asked = WriteRequest(persistent, volatile, sent.offset, written, sent.minimum & 1, sent.rdma)
        body = bytearray(encode_write_request(asked))
        body[2:4] = struct.pack("<H", struct.unpack_from("<H", body, 2)[0] + sent.shift)
    body[0] += sent.size
    return bytes(body[: len(body) - min(sent.cut, len(body) - 1)])


def _message(client: WireClient, sent: Sent, file: Open, encrypted: bool) -> bytes:
    assert client.session is not None
    message = bytearray(64) + _body(sent, file)
    pack_header_into(
        message,
        0,
        command=sent.command,
        message_id=(client.message_id + sent.skip) & 0xFFFFFFFFFFFFFFFF,
        credits=sent.credits,
        credit_charge=sent.charge,
        flags=sent.flags,
        session_id=client.session.session_id + sent.session,
        tree_id=client.tree_id + sent.tree,
        channel_sequence=sent.sequence,
    )
    client.message_id += sent.charge or 1
    if encrypted and sent.protect:
        sealed = bytearray(client.seal(message))
        sealed[60 if sent.spoil else 0] ^= sent.spoil
        return bytes(sealed)
    if sent.protect:
        client.sign(message)
        message[50] ^= sent.spoil
    return bytes(message)


class Outcome(NamedTuple):
    """What a client gets for its requests, whether the server hung up on it, and what is in the file then."""

    answers: list[object]
    hung_up: bool
    content: bytes


def _answers(served: Served, requests: Sequence[Sent], encrypted: bool, name: str, long: bool) -> Outcome:
    """Send all these in one go."""
    client = served.connected()
    if long:
        connection = served.connection_of(client)
        served.call(lambda: setattr(connection, "execute", functools.partial(dispatch.execute)))
    while client.credits < 300:
        client.transact(Command.ECHO, b"\4\0\0\0", credits=300)
    (served.folder / name).write_bytes(_CONTENT)
    file = new_file(client, name)
    messages = [_message(client, sent, file, encrypted) for sent in requests]
    messages.append(_message(client, Sent(Command.ECHO, 0, 0, credits=77), file, encrypted))
    with contextlib.suppress(ConnectionError):  # the server may hang up before it has all
        client.send_bytes(b"".join(struct.pack(">I", len(message)) + message for message in messages))
    found: list[object] = []
    hung_up = False
    try:
        for _ in messages:
            header, message, sealed = client.recv()
            told = (header.command, header.status, header.credits, header.credit_charge, header.flags, header.tree_id)
            found.append((told, header.message_id, sealed, bytes(message[64:])))
    except ConnectionClosedError:
        hung_up = True
    client.disconnect()
    return Outcome(found, hung_up, (served.folder / name).read_bytes())


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for all the examples."""
    folder = tmp_path_factory.mktemp("data")
    with lamina.Server({"data": folder}, users={USER: PASSWORD}) as server, Served(server, folder) as served:
        yield served


@given(st.lists(_SENT, min_size=1, max_size=12), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_both_ways_answer_the_same(lasting: Served, requests: list[Sent], encrypted: bool) -> None:
    short = _answers(lasting, requests, encrypted, "short", long=False)
    long = _answers(lasting, requests, encrypted, "long", long=True)
    assert short[1:] == long[1:]
    # How much a server that hangs up has sent before depends on how much had arrived.
    count = min(len(short.answers), len(long.answers)) if short.hung_up else len(short.answers)
    assert short.answers[:count] == long.answers[: count if long.hung_up else None]


def _in_one_go(client: WireClient, file: Open, requests: Sequence[Sent]) -> list[int]:
    """Send all these together; their message ids."""
    first = client.message_id
    messages = [_message(client, sent, file, encrypted=False) for sent in requests]
    client.send_bytes(b"".join(struct.pack(">I", len(message)) + message for message in messages))
    return list(range(first, client.message_id))


READ, WRITE, ECHO = (Sent(command, 0, 512) for command in (Command.READ, Command.WRITE, Command.ECHO))


class _Asking(VfsModule):
    """Keeps what it is told of the request in which it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[RequestView | None] = []

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        self.views.append(current_request())
        return self.next.pread(token, handle, buffer, offset)


def test_modules_see_the_request(serve: Callable[..., Served]) -> None:
    asking = _Asking()
    client = serve(chain=[asking, "posix"]).connected()
    file = new_file(client)
    client.write(file, b"data")
    assert client.read(file, 4) == b"data"
    (view,) = asking.views
    assert view is not None
    assert (view.command, view.share, view.user, view.signed) == ("READ", "data", USER, True)
    assert view.open is not None
    assert view.open.name == "file"


@dataclass
class Slow:
    """A server whose reads wait until they are released, a client of it, and a file with `_CONTENT`."""

    served: Served
    delay: DelayModule
    client: WireClient
    file: Open

    def until_parked(self, count: int) -> None:
        self.served.until(lambda: self.delay.parked == count)

    def release(self) -> None:
        self.served.call(self.delay.release)

    @property
    def connection(self) -> Connection:
        return self.served.connection_of(self.client)


@pytest.fixture
def slow(serve: Callable[..., Served]) -> Slow:
    delay = DelayModule(DelayOptions(operations=frozenset({"pread"})))
    served = serve(chain=[delay, "posix"])
    (served.folder / "file").write_bytes(_CONTENT)
    client = served.connected()
    slow = Slow(served, delay, client, new_file(client))
    served.call(delay.hold)
    return slow


def test_what_waits_lets_those_behind_it_pass(slow: Slow) -> None:
    first, second, third, fourth = _in_one_go(slow.client, slow.file, [READ, ECHO, READ, ECHO])
    assert [slow.client.recv().header.message_id for _ in range(2)] == [second, fourth]
    slow.until_parked(2)
    slow.release()
    for message_id in (first, third):
        assert bytes(slow.client.wait(message_id).check().message[80:]) == _CONTENT[:512]


def test_what_waits_keeps_its_open(slow: Slow) -> None:
    (reading,) = _in_one_go(slow.client, slow.file, [READ])
    slow.until_parked(1)
    closing = slow.client.send(Command.CLOSE, struct.pack("<HHIQQ", 24, 0, 0, *slow.file.file_id))
    slow.release()
    assert slow.client.wait(reading).status == NtStatus.SUCCESS
    assert slow.client.wait(closing).status == NtStatus.SUCCESS


def test_what_waits_counts_for_the_channel_sequence_of_its_open(slow: Slow) -> None:
    _in_one_go(slow.client, slow.file, [READ])
    slow.until_parked(1)
    (writing,) = _in_one_go(
        slow.client, slow.file, [Sent(Command.WRITE, 0, 1, sequence=1, flags=smb.FLAGS_REPLAY_OPERATION)]
    )
    assert slow.client.wait(writing).status == NtStatus.FILE_NOT_AVAILABLE
    slow.release()


def test_what_waits_can_be_cancelled(slow: Slow) -> None:
    (reading,) = _in_one_go(slow.client, slow.file, [READ])
    slow.until_parked(1)
    slow.client.cancel(reading)
    assert slow.client.wait(reading).status == NtStatus.CANCELLED
    slow.until_parked(0)
    slow.release()
    assert slow.client.read(slow.file, 4) == _CONTENT[:4]


def test_a_client_that_goes_ends_what_waits(slow: Slow) -> None:
    _in_one_go(slow.client, slow.file, [READ, READ, ECHO])
    slow.until_parked(2)
    slow.client.disconnect()
    slow.until_parked(0)


def test_nothing_is_left_of_a_request(slow: Slow) -> None:
    slow.release()
    reads = _in_one_go(slow.client, slow.file, [READ, WRITE, ECHO, Sent(Command.READ, 1 << 40, 1)])
    statuses = [slow.client.wait(message_id).status for message_id in reads]
    assert statuses == [NtStatus.SUCCESS] * 3 + [NtStatus.END_OF_FILE]
    (open_,) = next(iter(slow.served.core.sessions.values())).opens.values()
    assert (open_.busy, open_.sequence.outstanding, open_.sequence.earlier) == (0, 0, 0)
    assert not slow.connection.running


class _Notifying(VfsModule):
    """Sends something else to the client before it reads, and after."""

    def __init__(self, connections: list[Connection], size: int) -> None:
        super().__init__()
        self._connections = connections
        self._size = size

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        self._notify()
        count = self.next.pread(token, handle, buffer, offset)
        self._notify()
        return count

    def _notify(self) -> None:
        for connection in self._connections:
            connection.send_notification(Command.OPLOCK_BREAK, bytes(self._size), None)


@pytest.mark.parametrize("size", [100, 300_000])
def test_what_is_sent_while_a_request_is_worked_on_does_not_disturb_its_reply(
    size: int, serve: Callable[..., Served]
) -> None:
    connections: list[Connection] = []
    served = serve(chain=[_Notifying(connections, size), "posix"])
    (served.folder / "file").write_bytes(_CONTENT)
    client = served.connected()
    file = new_file(client)
    connections.append(served.connection_of(client))
    reads = _in_one_go(client, file, [ECHO, Sent(Command.READ, 512, 512), ECHO, READ])
    found = [client.recv() for _ in range(len(reads) + 4)]
    bodies = {one.header.message_id: bytes(one.message[80:]) for one in found}
    assert [bodies[number] for number in reads] == [b"", _CONTENT[512:1024], b"", _CONTENT[:512]]


class _Freeing(VfsModule):
    """Lets a request of the same client that waits go on, and end, before it reads."""

    def __init__(self, delay: DelayModule) -> None:
        super().__init__()
        self._delay = delay

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        if offset:
            self._delay.release()
            sleep(0.01)
        return self.next.pread(token, handle, buffer, offset)


def test_what_waited_ends_while_another_begins_to_wait(serve: Callable[..., Served]) -> None:
    delay = DelayModule(DelayOptions(operations=frozenset({"pread"})))
    served = serve(chain=[_Freeing(delay), delay, "posix"])
    (served.folder / "file").write_bytes(_CONTENT)
    client = served.connected()
    file = new_file(client)
    served.call(delay.hold)
    requests = [READ, ECHO, Sent(Command.READ, 1024, 512), ECHO, READ]
    ids = _in_one_go(client, file, requests)
    bodies = {one.header.message_id: bytes(one.message[80:]) for one in (client.recv() for _ in ids)}
    assert [bodies[number] for number in ids] == [_CONTENT[:512], b"", _CONTENT[1024:1536], b"", _CONTENT[:512]]


class _Soon(Answer[int]):
    """Is given between the look whether it is there and the wait for it."""

    def _park(self, task: Task, seconds: float) -> None:
        self.give(1)
        super()._park(task, seconds)


class _Hasty(VfsModule):
    """Its requests go to wait, but need not, or must not; those at odd offsets wait."""

    def __init__(self, begin: Callable[[], object]) -> None:
        super().__init__()
        self._begin = begin
        self.views: list[RequestView | None] = []

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        if offset % 2:
            sleep(0.01)
        else:
            self._begin()
        return self.next.pread(token, handle, buffer, offset)


@pytest.mark.parametrize("length", [512, 100_000])
def test_what_was_about_to_wait_but_needs_not_leaves_nothing_to_those_behind_it(
    length: int, serve: Callable[..., Served]
) -> None:
    served = serve(chain=[_Hasty(lambda: _Soon().get(5)), "posix"])
    content = _CONTENT * 8
    (served.folder / "file").write_bytes(content)
    client = served.connected()
    client.transact(Command.ECHO, b"\4\0\0\0", credits=64)
    file = new_file(client)
    offsets = (0, 1001, 2000, 3000, 4001)
    ids = _in_one_go(client, file, [Sent(Command.READ, offset, length, charge=2) for offset in offsets])[::2]
    found = {response.header.message_id: response for response in (client.recv() for _ in ids)}
    for number, offset in zip(ids, offsets, strict=True):
        assert bytes(found[number].check().message[80:]) == content[offset : offset + length]
    connection = served.connection_of(client)
    served.until(lambda: not connection.running)


def test_what_may_not_wait_leaves_nothing_to_those_behind_it(serve: Callable[..., Served]) -> None:
    hasty = _Hasty(lambda: sleep(5, indefinite=True))
    served = serve(chain=[hasty, "posix"], limits=Limits(pending_requests=1))
    (served.folder / "file").write_bytes(_CONTENT)
    client = served.connected()
    file, folder = new_file(client), client.create("", options=1)
    watch = client.send_change_notify(folder, 3)
    client.wait_interim(watch)
    offsets = (0, 1001, 2000, 3001)
    ids = _in_one_go(client, file, [Sent(Command.READ, offset, 512) for offset in offsets])
    found = {response.header.message_id: response for response in (client.recv() for _ in ids)}
    assert [found[number].status for number in ids] == [NtStatus.INSUFFICIENT_RESOURCES, NtStatus.SUCCESS] * 2
    assert bytes(found[ids[1]].message[80:]) == _CONTENT[1001:1513]
    client.cancel(watch)
    client.close(folder)
