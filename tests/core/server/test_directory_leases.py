"""Leases of directories on the wire: who gets one, and what breaks it (MS-SMB2 3.3.1.4, 3.3.5.9.11)."""

from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import (
    LEASE_FLAG_PARENT_LEASE_KEY_SET,
    REQUEST_LEASE,
    LeaseContext,
    decode_lease,
    encode_lease,
)
from lamina.core.wire.oplock_break import (
    LeaseBreak,
    LeaseBreakNotification,
    decode_lease_break_notification,
    encode_lease_break,
)
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.ntfsa.constants import (
    FILE_ADD_FILE,
    FILE_CREATE,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_LIST_DIRECTORY,
    FILE_OPEN_IF,
    FILE_READ_ATTRIBUTES,
)
from lamina.ntfsa.grants.caching import HANDLE_CACHING, OPLOCK_LEVEL_LEASE, READ_CACHING, WRITE_CACHING
from lamina.ntfsa.status import NtStatus as S
from tests.support.served import GENERIC_ALL, Served
from tests.support.wire_client import Open, StatusError, WireClient

R, RH, RW, RWH = (
    READ_CACHING,
    READ_CACHING | HANDLE_CACHING,
    READ_CACHING | WRITE_CACHING,
    READ_CACHING | HANDLE_CACHING | WRITE_CACHING,
)
FOLDER_KEY, OTHER_FOLDER_KEY, FILE_KEY, WRONG_KEY = (bytes([n]) * 16 for n in (1, 2, 3, 4))
FILE_INFO, BASIC, RENAME, DISPOSITION, LINK, END_OF_FILE = 1, 4, 10, 13, 11, 20
LIST = FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES


def lease_of(opened: Open) -> LeaseContext:
    return decode_lease(opened.response.contexts[REQUEST_LEASE])


def request(key: bytes, state: int, parent: bytes | None = None, epoch: int = 0) -> dict[str, Any]:
    flags = LEASE_FLAG_PARENT_LEASE_KEY_SET if parent is not None else 0
    context = LeaseContext(key, state, flags, 2, parent or bytes(16), epoch)
    return {"oplock_level": OPLOCK_LEVEL_LEASE, "contexts": {REQUEST_LEASE: encode_lease(context)}}


def lease_folder(client: WireClient, name: str = "folder", key: bytes = FOLDER_KEY, state: int = RH) -> Open:
    options = {"disposition": FILE_OPEN_IF, "options": FILE_DIRECTORY_FILE}
    return client.create(name, access=LIST, **options, **request(key, state))


def file_in(client: WireClient, parent: bytes | None, name: str = r"folder\file", **options: Any) -> Open:
    options = {"disposition": FILE_OPEN_IF, "access": GENERIC_ALL} | options
    return client.create(name, **options, **request(FILE_KEY, R, parent))


def next_break(client: WireClient) -> LeaseBreakNotification:
    response = client.unclaimed.pop(0) if client.unclaimed else client.recv()
    assert response.header.command == Command.OPLOCK_BREAK
    return decode_lease_break_notification(response.message)


def broken(client: WireClient, key: bytes = FOLDER_KEY) -> None:
    """The lease is broken to nothing, and the client answers."""
    told = next_break(client)
    assert (told.lease_key, told.current_state, told.new_state) == (key, RH, 0)
    client.transact(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(key, 0))).check()


def told_nothing(client: WireClient) -> bool:
    """Whether no break has come: an answer to something asked now comes after what was sent before."""
    client.echo()
    return not client.unclaimed


@pytest.fixture
def other(served: Served) -> WireClient:
    client = served.client(client_guid=b"another client's")
    client.negotiate()
    client.session_setup("ada", "engine")
    client.tree_connect("data")
    return client


@pytest.mark.parametrize(("asked", "granted"), [(RWH, RH), (RW, R), (RH, RH), (R, R), (HANDLE_CACHING, 0), (0, 0)])
def test_a_directory_caches_reads_and_handles(client: WireClient, asked: int, granted: int) -> None:
    lease = lease_of(lease_folder(client, state=asked))
    assert (lease.key, lease.state, lease.version, lease.epoch) == (FOLDER_KEY, granted, 2, 1 if granted else 0)


def test_version_1_leases_files_only(client: WireClient) -> None:
    contexts = {REQUEST_LEASE: encode_lease(LeaseContext(FOLDER_KEY, RH))}
    opened = client.create(
        "folder",
        access=LIST,
        disposition=FILE_CREATE,
        options=FILE_DIRECTORY_FILE,
        oplock_level=OPLOCK_LEVEL_LEASE,
        contexts=contexts,
    )
    assert (opened.response.oplock_level, dict(opened.response.contexts)) == (0, {})


def test_a_share_may_do_without(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "quiet").mkdir()
    served = serve(shares={"data": ShareSpec(tmp_path / "quiet", directory_leases=False)})
    assert lease_folder(served.connected()).response.oplock_level == 0


def basic(write_time: int = 0, attributes: int = 0) -> bytes:
    return pack("<4qII", 0, 0, write_time, 0, attributes, 0)


def name_information(name: str) -> bytes:
    raw = name.encode("utf-16-le")
    return pack("<B7xQI", 0, 0, len(raw)) + raw


CHANGES: dict[str, Callable[[WireClient, Open], object]] = {
    "its attributes": lambda client, file: client.set_info(file, FILE_INFO, BASIC, basic(attributes=2)),
    "its write time": lambda client, file: client.set_info(file, FILE_INFO, BASIC, basic(130_000_000_000_000_000)),
    "its size": lambda client, file: client.set_info(file, FILE_INFO, END_OF_FILE, pack("<q", 7)),
    "its name": lambda client, file: client.set_info(file, FILE_INFO, RENAME, name_information(r"folder\new")),
    "a second name": lambda client, file: client.set_info(file, FILE_INFO, LINK, name_information(r"folder\new")),
}


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("parent", [WRONG_KEY, None])
def test_who_changes_an_entry_without_the_key_breaks_the_lease(
    client: WireClient, changes: str, parent: bytes | None
) -> None:
    client.close(lease_folder(client))
    client.close(file_in(client, None))
    lease_folder(client)
    file = file_in(client, parent)
    CHANGES[changes](client, file)
    broken(client)


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("own", [True, False])
def test_who_changes_an_entry_with_the_key_knows_of_it(
    client: WireClient, other: WireClient, changes: str, own: bool
) -> None:
    client.close(lease_folder(client))
    client.close(file_in(client, None))
    lease_folder(client)
    by = client if own else other
    CHANGES[changes](by, file_in(by, FOLDER_KEY))
    assert told_nothing(client)


def test_a_new_entry_breaks_the_lease_and_the_lease_can_be_had_again(client: WireClient, other: WireClient) -> None:
    lease_folder(client)
    other.create(r"folder\new", access=GENERIC_ALL, disposition=FILE_CREATE)
    broken(client)
    assert lease_of(lease_folder(client)).epoch == 3
    other.create(r"folder\sub", access=LIST, disposition=FILE_CREATE, options=FILE_DIRECTORY_FILE)
    broken(client)


def test_a_change_deeper_down_does_not(client: WireClient, other: WireClient) -> None:
    client.close(lease_folder(client))
    other.create(r"folder\sub", access=LIST, disposition=FILE_CREATE, options=FILE_DIRECTORY_FILE)
    lease_folder(client)
    other.create(r"folder\sub\new", access=GENERIC_ALL, disposition=FILE_CREATE)
    assert told_nothing(client)


def test_data_that_is_written_is_listed_at_the_close(client: WireClient, other: WireClient) -> None:
    client.close(lease_folder(client))
    file = file_in(other, None)
    lease_folder(client)
    other.write(file, b"data")
    assert told_nothing(client)
    other.close(file)
    broken(client)


def test_what_a_local_program_does_breaks_the_lease(served: Served, client: WireClient) -> None:
    lease_folder(client)
    (served.folder / "folder" / "local").write_text("made beside SMB")
    broken(client)


def test_a_renamed_directory_keeps_its_lease(client: WireClient, other: WireClient) -> None:
    folder = lease_folder(client)
    mover = client.create("folder", access=GENERIC_ALL, options=FILE_DIRECTORY_FILE, **request(FOLDER_KEY, RH))
    client.set_info(mover, FILE_INFO, RENAME, name_information("moved"))
    assert told_nothing(client)
    other.create(r"moved\new", access=GENERIC_ALL, disposition=FILE_CREATE)
    broken(client)
    client.close(folder)


@pytest.mark.parametrize(
    ("parent", "breaks"),
    [
        (FOLDER_KEY, {OTHER_FOLDER_KEY}),
        (OTHER_FOLDER_KEY, {FOLDER_KEY}),
        (WRONG_KEY, {FOLDER_KEY, OTHER_FOLDER_KEY}),
        (None, {FOLDER_KEY, OTHER_FOLDER_KEY}),
    ],
)
def test_a_rename_breaks_both_directories(client: WireClient, parent: bytes | None, breaks: set[bytes]) -> None:
    client.close(lease_folder(client))
    client.close(file_in(client, None))
    lease_folder(client)
    lease_folder(client, "second", OTHER_FOLDER_KEY)
    client.set_info(file_in(client, parent), FILE_INFO, RENAME, name_information(r"second\file"))
    assert {next_break(client).lease_key for _ in breaks} == breaks
    assert told_nothing(client)


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_a_deletion_is_known_to_who_asked_for_it_and_closed_last(client: WireClient, initial: bool, same: bool) -> None:
    client.close(lease_folder(client))
    client.close(file_in(client, None))
    lease_folder(client)
    lease_folder(client, key=OTHER_FOLDER_KEY)
    first = file_in(client, FOLDER_KEY, options=FILE_DELETE_ON_CLOSE if initial and not same else 0)
    options = FILE_DELETE_ON_CLOSE if initial and same else 0
    last = client.create(
        r"folder\file", access=GENERIC_ALL, options=options, **request(b"five" * 4, R, OTHER_FOLDER_KEY)
    )
    if not initial:
        client.set_info(last if same else first, FILE_INFO, DISPOSITION, b"\1")
    client.close(first)
    assert told_nothing(client)
    client.close(last)
    expected = {FOLDER_KEY} if same else {FOLDER_KEY, OTHER_FOLDER_KEY}
    assert {next_break(client).lease_key for _ in expected} == expected
    assert told_nothing(client)


def test_whoever_must_have_the_directory_alone_asks_for_the_handle(client: WireClient, other: WireClient) -> None:
    folder = lease_folder(client)
    body = {"access": LIST, "share": 0, "options": FILE_DIRECTORY_FILE}
    waiting = send_create(other, "folder", **body)
    told = next_break(client)
    assert (told.current_state, told.new_state) == (RH, R)
    client.close(folder)
    other.wait(waiting).check()


def test_a_rename_into_a_directory_that_is_kept_from_it_asks_for_the_handle(
    client: WireClient, other: WireClient
) -> None:
    file = other.create("file", access=GENERIC_ALL, disposition=FILE_CREATE)
    options = {"disposition": FILE_OPEN_IF, "options": FILE_DIRECTORY_FILE, "share": 1}
    folder = client.create("folder", access=LIST | FILE_ADD_FILE, **options, **request(FOLDER_KEY, RH))
    asked = other.send(Command.SET_INFO, rename_body(file, r"folder\file"))
    other.wait_interim(asked)
    told = next_break(client)
    assert (told.current_state, told.new_state) == (RH, R)
    client.transact(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(FOLDER_KEY, R))).check()
    with pytest.raises(StatusError) as refused:
        other.wait(asked).check()
    assert refused.value.status == S.SHARING_VIOLATION
    client.close(folder)
    other.set_info(file, FILE_INFO, RENAME, name_information(r"folder\file"))


def send_create(client: WireClient, name: str, *, access: int, share: int, options: int) -> int:
    body = encode_create_request(CreateRequest(name, access, 0, share, 1, options, 0))
    message_id = client.send(Command.CREATE, body)
    client.wait_interim(message_id)
    return message_id


def rename_body(file: Open, name: str) -> bytes:
    data = memoryview(name_information(name))
    return encode_set_info_request(SetInfoRequest(*file.file_id, FILE_INFO, RENAME, data, 0))
