"""Tree connects, FileIds, reads and writes as the wire carries them (MS-SMB2 3.3.5.7, 3.3.5.8, 3.3.5.12, 3.3.5.13)."""

from collections.abc import Callable

import pytest

from lamina.core.settings import Limits
from lamina.core.wire import constants as smb
from lamina.core.wire.ioctl import NO_FILE
from lamina.core.wire.read import ReadRequest, encode_read_request
from lamina.core.wire.tree_connect import TreeConnectRequest, encode_tree_connect_request
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.status import NtStatus
from tests.support.served import Served, new_file
from tests.support.wire_client import StatusError, WireClient

MIB = 1 << 20


def tree_connect(client: WireClient, path: str) -> int:
    body = encode_tree_connect_request(TreeConnectRequest(path))
    return client.transact(smb.Command.TREE_CONNECT, body, tree_id=0).status


@pytest.mark.parametrize(
    "path",
    [r"\\server\nothing", r"\\server\data\more", r"\\server", r"\\server\\",
     "data", "", r"\server\data", "//server/data",
     "\\\\server\\da\0ta", "\\\\" + "x" * 2000],
)  # fmt: skip
def test_what_is_no_share_is_a_bad_network_name(client: WireClient, path: str) -> None:
    assert tree_connect(client, path) in (NtStatus.BAD_NETWORK_NAME, NtStatus.INVALID_PARAMETER)
    client.echo()


@pytest.mark.parametrize(
    "path", [r"\\SERVER\DATA", r"\\127.0.0.1\Data", r"\\\data", r"\\server\IPC$", r"\\server\ipc$"]
)
def test_shares_are_found_whatever_their_case_and_the_servers_name(client: WireClient, path: str) -> None:
    assert tree_connect(client, path) == NtStatus.SUCCESS


def test_ipc_is_a_share_of_pipes(served: Served) -> None:
    client = served.logged_on()
    assert client.tree_connect("IPC$").share_type == smb.SHARE_TYPE_PIPE
    pipe = client.create("srvsvc", access=0x0012019F)
    with pytest.raises(StatusError, match="PIPE_EMPTY"):
        client.read(pipe, 100)
    with pytest.raises(StatusError):
        client.lock(pipe, [(0, 1, 0x12)])
    with pytest.raises(StatusError, match="OBJECT_NAME_NOT_FOUND"):
        client.create("no-such-pipe")
    client.close(pipe)


def test_the_number_of_trees_is_limited(serve: Callable[..., Served]) -> None:
    client = serve(limits=Limits(trees_per_session=3)).logged_on()
    statuses = [tree_connect(client, r"\\server\data") for _ in range(4)]
    assert statuses == [0, 0, 0, NtStatus.INSUFFICIENT_RESOURCES]


def test_the_number_of_opens_is_limited(serve: Callable[..., Served]) -> None:
    client = serve(limits=Limits(opens_per_session=2)).connected()
    new_file(client)
    new_file(client)
    with pytest.raises(StatusError, match="TOO_MANY_OPENED_FILES"):
        new_file(client)


def test_the_number_of_locks_is_limited(serve: Callable[..., Served]) -> None:
    client = serve(limits=Limits(locks_per_session=3)).connected()
    first, second = new_file(client), new_file(client, "second")
    shared = smb.LOCKFLAG_SHARED_LOCK | smb.LOCKFLAG_FAIL_IMMEDIATELY
    client.lock(first, [(0, 1, shared), (1, 1, shared)])
    client.lock(second, [(0, 1, shared)])
    for file in (first, second):
        with pytest.raises(StatusError, match="INSUFFICIENT_RESOURCES"):
            client.lock(file, [(5, 1, shared)])
    client.lock(first, [(0, 1, smb.LOCKFLAG_UNLOCK)])
    client.lock(second, [(5, 1, shared)])
    client.close(first)
    client.lock(second, [(6, 1, shared)])
    with pytest.raises(StatusError, match="INSUFFICIENT_RESOURCES"):
        client.lock(second, [(7, 1, shared)])


def test_after_a_tree_disconnect_tree_and_files_are_gone(served: Served, client: WireClient) -> None:
    file = new_file(client)
    client.tree_disconnect()
    for use in (lambda: client.read(file, 1), client.tree_disconnect, lambda: new_file(client)):
        with pytest.raises(StatusError, match="NETWORK_NAME_DELETED"):
            use()
    client.tree_connect("data")
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        client.read(file, 1)
    assert served.counts()["opens"] == 0


def test_an_unknown_tree_id_is_a_deleted_network_name(client: WireClient) -> None:
    with pytest.raises(StatusError, match="NETWORK_NAME_DELETED"):
        client.create("file", tree_id=0xFFFFFFFF)


@pytest.mark.parametrize("change", [(1, 0), (0, 1), (1 << 40, 1 << 40), (0, -1)])
def test_a_file_id_must_be_exact(client: WireClient, change: tuple[int, int]) -> None:
    file = new_file(client)
    wrong = (file.persistent + change[0], file.volatile + change[1])
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        client.read(wrong, 1)


@pytest.mark.parametrize("wrong", [(0, 0), (NO_FILE, NO_FILE), (1 << 63, 1 << 63)])
def test_a_file_id_of_nothing_is_a_closed_file(client: WireClient, wrong: tuple[int, int]) -> None:
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        client.read(wrong, 1)
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        client.close(wrong)


def test_a_file_is_closed_once(client: WireClient) -> None:
    file = new_file(client)
    client.close(file)
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        client.close(file)


def test_a_file_belongs_to_its_tree_and_session(served: Served, client: WireClient) -> None:
    file = new_file(client)
    client.tree_connect("data")
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        client.read(file, 1)
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        served.connected().read(file, 1)


# -- reading and writing ---------------------------------------------------------------------------------------------


@pytest.fixture
def rich(client: WireClient) -> WireClient:
    """A client with credits for 8 MiB."""
    for _ in range(4):
        client.transact(smb.Command.ECHO, b"\4\0\0\0", credits=512)
    return client


@pytest.mark.parametrize("size", [0, 1, 4095, 65536, MIB, 8 * MIB])
@pytest.mark.parametrize("offset", [0, 12345])
def test_what_was_written_is_read(rich: WireClient, size: int, offset: int) -> None:
    file = new_file(rich)
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert rich.write(file, data, offset) == size
    if size:
        assert rich.read(file, size, offset) == data


def test_more_than_was_negotiated_is_an_invalid_parameter(rich: WireClient) -> None:
    file = new_file(rich)
    size = 8 * MIB + 1
    read = encode_read_request(ReadRequest(*file.file_id, 0, size))
    assert rich.transact(smb.Command.READ, read, payload=size).status == NtStatus.INVALID_PARAMETER
    write = encode_write_request(WriteRequest(*file.file_id, 0, bytes(size)))
    assert rich.transact(smb.Command.WRITE, write, payload=size).status == NtStatus.INVALID_PARAMETER


def test_a_message_beyond_all_limits_ends_the_connection(client: WireClient) -> None:
    client.send_bytes((9 * MIB).to_bytes(4, "big") + b"\xfeSMB")
    assert client.is_closed_by_server()


def test_before_the_logon_messages_must_be_small(served: Served) -> None:
    client = served.negotiated()
    client.send_bytes((MIB).to_bytes(4, "big") + b"\xfeSMB")
    assert client.is_closed_by_server()


@pytest.mark.parametrize(("minimum", "fits"), [(0, True), (5, True), (10, True), (11, False)])
def test_fewer_bytes_than_the_minimum_are_the_end_of_the_file(client: WireClient, minimum: int, fits: bool) -> None:
    file = new_file(client)
    client.write(file, b"0123456789")
    if fits:
        assert client.read(file, 100, 0, minimum) == b"0123456789"
    else:
        with pytest.raises(StatusError, match="END_OF_FILE"):
            client.read(file, 100, 0, minimum)


@pytest.mark.parametrize("offset", [10, 11, 1 << 40])
def test_a_read_past_the_end_is_the_end_of_the_file(client: WireClient, offset: int) -> None:
    file = new_file(client)
    client.write(file, b"0123456789")
    with pytest.raises(StatusError, match="END_OF_FILE"):
        client.read(file, 1, offset)


@pytest.mark.parametrize("offset", [1 << 63, (1 << 64) - 2])
def test_offsets_beyond_all_files_are_refused(client: WireClient, offset: int) -> None:
    file = new_file(client)
    read = encode_read_request(ReadRequest(*file.file_id, offset, 10))
    write = encode_write_request(WriteRequest(*file.file_id, offset, b"data"))
    for command, body in ((smb.Command.READ, read), (smb.Command.WRITE, write)):
        status = client.transact(command, body).status
        assert status not in (NtStatus.SUCCESS, NtStatus.INTERNAL_ERROR)
    client.write(file, b"lives")
