"""What goes the short way of files is answered as on the long way, and steps aside where it waits."""

import contextlib
import functools
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lamina
from lamina.core import dispatch
from lamina.core.wire import constants as smb
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import LeaseContext, encode_lease
from lamina.core.wire.empty import encode_empty
from lamina.core.wire.header import pack_header_into
from lamina.core.wire.query_info import QueryInfoRequest, encode_query_info_request
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.forms import dosattrib
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import FileStat, OpenHow
from lamina.vfs_modules.services.request_view import RequestView, current_request
from lamina.vfs_modules.stock.delay import DelayModule, DelayOptions
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.served import PASSWORD, USER, Served
from tests.support.wire_client import ConnectionClosedError, WireClient

STAT, READ, ALL, MAXIMUM, DELETE = 0x0010_0080, 0x0012_0089, 0x1000_0000, 0x0200_0000, 0x0001_0000
OPEN, CREATE, OPEN_IF = 1, 2, 3
DIRECTORY, NON_DIRECTORY, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000
NETWORK_OPEN = 34
_NAMES = (
    "plain", "PLAIN", "folder", "folder\\deep", "folder\\missing", "missing", "plain:stream", "plain:none", "link", "",
    "empty", ".hidden", "a\\..\\b", "bad?", "plain\\below", "folder\\", "$Extend",
)  # fmt: skip
_CONTEXTS: Mapping[str, Mapping[bytes, bytes]] = {
    "none": {},
    "rights": {b"MxAc": b""},
    "rights unless": {b"MxAc": bytes(8)},
    "id": {b"QFid": b"", b"MxAc": b""},
    "wrong": {b"MxAc": b"abc"},
    "unknown": {b"What": b"ever"},
    "durable": {b"DHnQ": bytes(16)},
    "lease": {b"RqLs": encode_lease(LeaseContext(b"the key of plain", 1, 0, 2))},
}


@dataclass(frozen=True)
class Odd:
    """What is wrong with a message."""

    size: int = 0
    flags: int = 0
    sequence: int = 0
    charge: int = 1
    tree: int = 0
    session: int = 0
    cut: int = 0
    skip: int = 0
    protect: bool = True
    spoil: bool = False


@dataclass(frozen=True)
class Opens:
    """A CREATE."""

    name: str = "plain"
    access: int = STAT
    disposition: int = OPEN
    options: int = 0
    share: int = 7
    level: int = 0
    contexts: str = "none"
    impersonation: int = 2
    odd: Odd = Odd()

    def encode(self, _: Sequence[tuple[int, int]]) -> tuple[int, bytes]:
        asked = CreateRequest(self.name, self.access, 0, self.share, self.disposition, self.options, self.level)
        contexts = _CONTEXTS[self.contexts]
        level = 0xFF if self.contexts == "lease" else self.level
        whole = asked._replace(impersonation_level=self.impersonation, contexts=contexts, oplock_level=level)
        return Command.CREATE, encode_create_request(whole)


def _file_id(opened: Sequence[tuple[int, int]], file: int, persistent: int) -> tuple[int, int]:
    known = opened[file % len(opened)] if opened and file >= 0 else (1, 2)
    return (known[0], known[0] + 1, 0xFFFFFFFFFFFFFFFF)[persistent], known[1]


@dataclass(frozen=True)
class Closes:
    """A CLOSE of one of the opens, or of none."""

    file: int
    flags: int = 0
    persistent: int = 0
    odd: Odd = Odd()

    def encode(self, opened: Sequence[tuple[int, int]]) -> tuple[int, bytes]:
        file_id = _file_id(opened, self.file, self.persistent)
        return Command.CLOSE, encode_close_request(CloseRequest(*file_id, self.flags))


@dataclass(frozen=True)
class Asks:
    """A QUERY_INFO of one of the opens, or of none."""

    file: int
    kind: int = 1
    number: int = NETWORK_OPEN
    length: int = 4096
    additional: int = 0
    given: bytes = b""
    persistent: int = 0
    odd: Odd = Odd()

    def encode(self, opened: Sequence[tuple[int, int]]) -> tuple[int, bytes]:
        file_id = _file_id(opened, self.file, self.persistent)
        asked = QueryInfoRequest(
            *file_id, self.kind, self.number, self.length, self.additional, 0, memoryview(self.given)
        )
        return Command.QUERY_INFO, encode_query_info_request(asked)


@dataclass(frozen=True)
class Sets:
    """A SET_INFO of one of the opens, or of none, that leaves the file as it is."""

    file: int
    kind: int = 1
    number: int = 14
    data: bytes = bytes(8)
    persistent: int = 0
    odd: Odd = Odd()

    def encode(self, opened: Sequence[tuple[int, int]]) -> tuple[int, bytes]:
        file_id = _file_id(opened, self.file, self.persistent)
        asked = SetInfoRequest(*file_id, self.kind, self.number, memoryview(self.data))
        return Command.SET_INFO, encode_set_info_request(asked)


Sent = Opens | Closes | Asks | Sets


def _rarely(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.one_of(*[st.just(usual)] * 9, st.sampled_from(others))


_ODD = st.one_of(
    *[st.just(Odd())] * 5,
    st.builds(
        Odd,
        size=_rarely(0, 1),
        flags=_rarely(0, 0x10, smb.FLAGS_REPLAY_OPERATION, smb.FLAGS_RELATED_OPERATIONS, smb.FLAGS_DFS_OPERATIONS),
        sequence=_rarely(0, 1, 0xFFFF),
        charge=_rarely(1, 0, 2),
        tree=_rarely(0, 1),
        session=_rarely(0, 1),
        cut=_rarely(0, 1, 20, 60),
        skip=_rarely(0, 0, -1, 1000),
        protect=st.sampled_from([True] * 9 + [False]),
        spoil=st.sampled_from([False] * 9 + [True]),
    ),
)


def _harmless(opens: Opens) -> Opens:
    """The same, but that both ways find the same files."""
    if opens.disposition == CREATE:
        opens = replace(opens, name="plain")
    return replace(opens, options=0) if opens.options == DELETE_ON_CLOSE and opens.access not in {STAT, READ} else opens


_OPENS = st.builds(
    Opens,
    name=st.sampled_from(_NAMES),
    access=st.sampled_from([STAT, READ, ALL, MAXIMUM, STAT | DELETE, 0, 0x0100_0000]),
    disposition=_rarely(OPEN, CREATE, 9),
    options=st.sampled_from([0, 0, 0, NON_DIRECTORY, DIRECTORY, DELETE_ON_CLOSE, 1 << 31]),
    share=_rarely(7, 0, 1, 8),
    contexts=_rarely("none", *_CONTEXTS),
    impersonation=_rarely(2, 0, 4),
    odd=_ODD,
).map(_harmless)
_FILES, _PERSISTENT = st.integers(-1, 5), _rarely(0, 1, 2)
_CLOSES = st.builds(Closes, _FILES, flags=st.sampled_from([0, 1, 2]), persistent=_PERSISTENT, odd=_ODD)
_ASKS = st.builds(
    Asks,
    _FILES,
    kind=_rarely(1, 0, 2, 3, 4, 5),
    number=st.sampled_from([NETWORK_OPEN, *range(60)]),
    length=st.sampled_from([0, 7, 40, 56, 100, 4096, 65536, 65537]),
    additional=st.sampled_from([0, 7]),
    given=_rarely(b"", b"xyz"),
    persistent=_PERSISTENT,
    odd=_ODD,
)


_SETS = st.builds(
    Sets,
    _FILES,
    kind=_rarely(1, 0, 2, 3, 4, 5),
    # Position, basic information without any, disposition, mode, and what cannot be set.
    number=st.sampled_from([14, 4, 13, 16, 5, 99]),
    data=st.sampled_from([bytes(8), bytes(40), bytes(1), b""]),
    persistent=_PERSISTENT,
    odd=_ODD,
)


def _message(client: WireClient, sent: Sent, opened: Sequence[tuple[int, int]], encrypted: bool) -> bytes:
    assert client.session is not None
    odd = sent.odd
    command, whole = sent.encode(opened)
    body = bytearray(whole)
    body[0] += odd.size
    message = bytearray(64) + body[: len(body) - min(odd.cut, len(body) - 1)]
    pack_header_into(
        message,
        0,
        command=command,
        message_id=(client.message_id + odd.skip) & 0xFFFFFFFFFFFFFFFF,
        credits=1,
        credit_charge=odd.charge,
        flags=odd.flags,
        session_id=client.session.session_id + odd.session,
        tree_id=client.tree_id + odd.tree,
        channel_sequence=odd.sequence,
    )
    client.message_id += odd.charge or 1
    if encrypted and odd.protect:
        sealed = bytearray(client.seal(message))
        sealed[60 if odd.spoil else 0] ^= odd.spoil
        return bytes(sealed)
    if odd.protect:
        client.sign(message)
        message[50] ^= odd.spoil
    return bytes(message)


def _exchange(
    client: WireClient, requests: Sequence[Sent], opened: Sequence[tuple[int, int]], encrypted: bool
) -> list[Any]:
    """What is answered to requests that are sent in one go; None at the end if the server hangs up."""
    messages = [_message(client, sent, opened, encrypted) for sent in requests]
    with contextlib.suppress(ConnectionError):  # the server may hang up before it has all
        client.send_bytes(b"".join(struct.pack(">I", len(message)) + message for message in messages))
    found: list[Any] = []
    try:
        found += [client.recv() for _ in messages]
    except ConnectionClosedError:
        found.append(None)
    return found


def _shown(response: Any) -> object:
    """All of an answer that is no server's own number."""
    if response is None:
        return None
    header, message, sealed = response
    body = bytearray(message[64:])
    if header.command == Command.CREATE and not header.status:
        body[64:80] = bytes(16)
    told = (header.command, header.status, header.credits, header.credit_charge, header.flags, header.tree_id)
    return told, header.message_id, sealed, bytes(body)


def _answers(served: Served, first: Sequence[Sent], then: Sequence[Sent], encrypted: bool, long: bool) -> list[object]:
    """What is answered to opens, and to what is done with them."""
    client = served.connected()
    if long:
        connection = served.connection_of(client)
        served.call(lambda: setattr(connection, "execute", functools.partial(dispatch.execute)))
    while client.credits < 100:
        client.transact(Command.ECHO, encode_empty(), credits=100)
    answers = _exchange(client, first, (), encrypted)
    if None not in answers:
        opened = [
            struct.unpack_from("<QQ", one.message, 128)
            for one in answers
            if one.header.command == Command.CREATE and not one.header.status
        ]
        answers += _exchange(client, then, opened, encrypted)
    client.disconnect()
    served.until(lambda: not served.core.counts()["opens"])
    return [_shown(one) for one in answers]


def _fill(folder: Path) -> None:
    (folder / "plain").write_bytes(bytes(5000))
    (folder / "empty").touch()
    (folder / ".hidden").touch()
    (folder / "folder").mkdir()
    (folder / "folder" / "deep").write_bytes(b"deep")
    (folder / "link").symlink_to("plain")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for all the examples."""
    folder = tmp_path_factory.mktemp("data")
    _fill(folder)
    with lamina.Server({"data": folder}, users={USER: PASSWORD}) as server, Served(server, folder) as served:
        client = served.connected()
        client.close(client.create("plain:stream", access=ALL, disposition=OPEN_IF))
        client.disconnect()
        yield served


@given(
    st.lists(_OPENS, min_size=1, max_size=6),
    st.lists(st.one_of(_ASKS, _ASKS, _SETS, _CLOSES, _OPENS), max_size=10),
    st.booleans(),
)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_both_ways_answer_the_same(lasting: Served, first: list[Sent], then: list[Sent], encrypted: bool) -> None:
    short = _answers(lasting, first, then, encrypted, long=False)
    long = _answers(lasting, first, then, encrypted, long=True)
    if short[-1:] != [None]:
        assert short == long
        return
    # How much a server that hangs up has sent before depends on how much had arrived.
    assert long[-1] is None
    count = min(len(short), len(long)) - 1
    assert short[:count] == long[:count]


def _in_one_go(client: WireClient, requests: Sequence[Sent], opened: Sequence[tuple[int, int]] = ()) -> list[int]:
    """Send all these together; their message ids."""
    first = client.message_id
    messages = [_message(client, sent, opened, encrypted=False) for sent in requests]
    client.send_bytes(b"".join(struct.pack(">I", len(message)) + message for message in messages))
    return list(range(first, client.message_id))


class _Asking(VfsModule):
    """Keeps what it is told of the requests in which it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[RequestView | None] = []

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        self.views.append(current_request())
        return self.next.open(token, directory, path, how)

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        self.views.append(current_request())
        return self.next.fstat(token, handle)


def test_modules_see_the_request(serve: Callable[..., Served]) -> None:
    asking = _Asking()
    served = serve(chain=[asking, "posix"])
    _fill(served.folder)
    client = served.connected()
    asking.views.clear()
    file = client.create("plain", access=STAT)
    client.query_info(file, 1, NETWORK_OPEN)
    client.close(file, 1)
    views = {view.command: view for view in asking.views if view is not None}
    assert list(views) == ["CREATE", "QUERY_INFO", "CLOSE"]
    for view in views.values():
        assert (view.share, view.user, view.signed) == ("data", USER, True)
        assert view.open is not None
        assert view.open.name == "plain"


@dataclass
class Slow:
    """A server where an operation waits until it is released, and a client of it."""

    served: Served
    delay: DelayModule
    client: WireClient

    def until_parked(self, count: int) -> None:
        self.served.until(lambda: self.delay.parked == count)

    def release(self) -> None:
        self.served.call(self.delay.release)

    def opens(self) -> int:
        return self.served.counts()["opens"]


@pytest.fixture
def slow(serve: Callable[..., Served]) -> Callable[[str], Slow]:
    def start(operation: str) -> Slow:
        delay = DelayModule(DelayOptions(operations=frozenset({operation})))
        served = serve(chain=[delay, "posix"])
        _fill(served.folder)
        return Slow(served, delay, served.connected())

    return start


def test_opens_that_wait_let_those_behind_them_pass(slow: Callable[[str], Slow]) -> None:
    what = slow("open")
    known = what.client.create("empty", access=STAT)
    what.served.call(what.delay.hold)
    first, second, third = _in_one_go(what.client, [Opens(), Asks(0), Opens(".hidden")], [known.file_id])
    assert what.client.wait(second).status == S.SUCCESS
    what.until_parked(2)
    what.release()
    for message_id in (first, third):
        assert what.client.wait(message_id).status == S.SUCCESS
    assert what.opens() == 3


def test_an_open_that_waits_can_be_cancelled(slow: Callable[[str], Slow]) -> None:
    what = slow("open")
    what.served.call(what.delay.hold)
    (opening,) = _in_one_go(what.client, [Opens()])
    what.until_parked(1)
    what.client.cancel(opening)
    assert what.client.wait(opening).status == S.CANCELLED
    what.until_parked(0)
    what.release()
    assert what.opens() == 0


def test_a_query_that_waits_keeps_its_open(slow: Callable[[str], Slow]) -> None:
    what = slow("fstat")
    known = what.client.create("plain", access=STAT)
    what.served.call(what.delay.hold)
    (asking,) = _in_one_go(what.client, [Asks(0)], [known.file_id])
    what.until_parked(1)
    closing = what.client.send(Command.CLOSE, encode_close_request(CloseRequest(*known.file_id)))
    what.release()
    assert what.client.wait(asking).status == S.SUCCESS
    assert what.client.wait(closing).status == S.SUCCESS


def test_a_close_that_waits_is_the_only_one(slow: Callable[[str], Slow]) -> None:
    what = slow("fstat")
    known = what.client.create("plain", access=STAT)
    what.served.call(what.delay.hold)
    first, second = _in_one_go(what.client, [Closes(0, 1), Closes(0)], [known.file_id])
    assert what.client.wait(second).status == S.FILE_CLOSED
    what.until_parked(1)
    what.release()
    assert what.client.wait(first).status == S.SUCCESS
    assert what.opens() == 0


def test_a_client_that_goes_ends_what_waits(slow: Callable[[str], Slow]) -> None:
    what = slow("open")
    what.served.call(what.delay.hold)
    _in_one_go(what.client, [Opens(), Opens("empty")])
    what.until_parked(2)
    what.client.disconnect()
    what.until_parked(0)


def test_nothing_is_left_of_requests(serve: Callable[..., Served]) -> None:
    served = serve()
    _fill(served.folder)
    client = served.connected()
    known = client.create("plain", access=STAT)
    ids = _in_one_go(client, [Opens("missing"), Asks(0), Asks(0, number=99), Asks(-1)], [known.file_id])
    statuses = [client.wait(message_id).status for message_id in ids]
    assert statuses == [S.OBJECT_NAME_NOT_FOUND, S.SUCCESS, S.INVALID_INFO_CLASS, S.FILE_CLOSED]
    (open_,) = next(iter(served.core.sessions.values())).opens.values()
    assert (open_.busy, open_.sequence.outstanding, open_.sequence.earlier) == (0, 0, 0)
    assert not served.connection_of(client).running


def test_a_query_tells_what_others_have_changed_since_the_open(serve: Callable[..., Served]) -> None:
    served = serve()
    _fill(served.folder)
    path = served.folder / "plain"
    client = served.connected()
    file = client.create("plain", access=STAT)
    for size in (1, 70_000):
        path.write_bytes(bytes(size))
        os.utime(path, ns=(0, size * 1_000_000_000))
        _, _, written, _, _, told, _ = struct.unpack_from("<6QI", client.query_info(file, 1, NETWORK_OPEN))
        assert (told, written) == (size, (size + 11_644_473_600) * 10_000_000)
    os.setxattr(path, "user.DOSATTRIB", dosattrib.encode(2, None, dosattrib.NOTHING, None))
    assert struct.unpack_from("<I", client.query_info(file, 1, NETWORK_OPEN), 48)[0] & 2
    path.unlink()
    assert struct.unpack_from("<I", client.query_info(file, 1, 5), 16)[0] == 0


def test_an_open_with_a_caching_grant_is_told_when_it_breaks(serve: Callable[..., Served]) -> None:
    served = serve()
    _fill(served.folder)
    client, other = served.connected(), served.connected()
    (opening,) = _in_one_go(client, [Opens(access=READ, level=9)])
    assert client.wait(opening).message[66] == 9
    beginning = other.send(Command.CREATE, encode_create_request(CreateRequest("plain", READ, 0, 7, OPEN)))
    notice = client.recv()
    assert notice.header.command == Command.OPLOCK_BREAK
    client.close(tuple(struct.unpack_from("<QQ", notice.message, 72)))
    assert other.wait(beginning).status == S.SUCCESS
