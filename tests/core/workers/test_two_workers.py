"""Two clients in different worker processes of one server meet as they would in one (see docs/workers.md)."""

import struct

import pytest

from lamina.core.wire import constants as smb
from lamina.core.wire.change_notify import decode_change_notify_response
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, decode_create_response, encode_create_request
from lamina.core.wire.create_contexts import APP_INSTANCE_ID, APP_INSTANCE_VERSION, POSIX
from lamina.core.wire.durable_contexts import (
    AppInstanceVersion,
    encode_app_instance_id,
    encode_app_instance_version,
)
from lamina.core.wire.oplock_break import OplockBreak, decode_oplock_break, encode_oplock_break
from lamina.ntfsa.constants import FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH, OPLOCK_LEVEL_II, OPLOCK_LEVEL_NONE
from lamina.ntfsa.status import NtStatus as S
from tests.support.crew import Crew, worker
from tests.support.durable import asked_v2
from tests.support.posix_client import asking, posix_open
from tests.support.served import FILE_OPEN_IF, GENERIC_ALL, new_file
from tests.support.wire_client import Open, StatusError, WireClient

FILE_OPEN = 1
FILE_INFO, RENAME, NAME, DISPOSITION = 1, 10, 9, 13
EXCLUSIVE = smb.LOCKFLAG_EXCLUSIVE_LOCK
AT_ONCE = EXCLUSIVE | smb.LOCKFLAG_FAIL_IMMEDIATELY


def rename(client: WireClient, file: Open, name: str, replace: bool = False) -> None:
    data = name.encode("utf-16-le")
    client.set_info(file, FILE_INFO, RENAME, struct.pack("<B7xQI", replace, 0, len(data)) + data)


def directory(client: WireClient, name: str, disposition: int = FILE_OPEN_IF) -> Open:
    return client.create(name, access=GENERIC_ALL, disposition=disposition, options=FILE_DIRECTORY_FILE)


def begin_open(client: WireClient, name: str = "file", share: int = 7, access: int = GENERIC_ALL) -> int:
    body = encode_create_request(CreateRequest(name, access, 0, share, FILE_OPEN, 0, 0))
    return client.send(Command.CREATE, body)


def instance(version: int) -> dict[bytes, bytes]:
    """The contexts of an application that has been moved so many times."""
    return {
        APP_INSTANCE_ID: encode_app_instance_id(b"the application."),
        APP_INSTANCE_VERSION: encode_app_instance_version(AppInstanceVersion(version, 0)),
    }


def refused(status: S, function: object, *arguments: object, **options: object) -> None:
    with pytest.raises(StatusError) as error:
        function(*arguments, **options)  # type: ignore[operator]
    assert error.value.status == status


def test_all_connections_of_a_client_are_in_one_worker_and_make_one_session(crew: Crew) -> None:
    one, other = crew.in_each()
    for client in (one, other):
        channel = crew.client(client.client_guid, bind=client.session)
        channel.tree_id = client.tree_id
        name = f"of{worker(client)}"
        file = new_file(client, name)
        assert channel.write(file, b"through the other channel") == 25
        client.close(file)


def test_a_client_that_begins_with_smb1_comes_to_its_worker_too(crew: Crew) -> None:
    for client in crew.in_each():
        for by_smb1 in (True, False, True):
            channel = crew.client(client.client_guid, bind=client.session, by_smb1=by_smb1)
            channel.tree_id = client.tree_id
            name = f"of{worker(client)}"
            channel.close(new_file(channel, name))


def test_share_modes(crew: Crew) -> None:
    one, other = crew.in_each()
    file = new_file(one, share=1)
    refused(S.SHARING_VIOLATION, other.create, "file", access=GENERIC_ALL)
    assert other.create("file", access=0x80).file_id
    one.close(file)
    other.close(other.create("file", access=GENERIC_ALL))


def test_an_oplock_breaks_and_who_wants_the_file_waits_for_the_answer(crew: Crew) -> None:
    holder, other = crew.in_each()
    held = new_file(holder, oplock_level=OPLOCK_LEVEL_BATCH)
    asked = begin_open(other)
    other.wait_interim(asked)
    told = decode_oplock_break(holder.recv().message)
    assert (told.oplock_level, (told.persistent, told.volatile)) == (OPLOCK_LEVEL_II, held.file_id)
    body = encode_oplock_break(OplockBreak(*held.file_id, OPLOCK_LEVEL_NONE))
    holder.transact(Command.OPLOCK_BREAK, body).check()
    assert decode_create_response(other.wait(asked).check().message).persistent


def test_a_lock_waits_for_that_of_another_worker(crew: Crew) -> None:
    one, other = crew.in_each()
    mine = new_file(one)
    theirs = new_file(other)
    one.lock(mine, [(0, 10, EXCLUSIVE)])
    refused(S.LOCK_NOT_GRANTED, other.lock, theirs, [(5, 10, AT_ONCE)])
    refused(S.FILE_LOCK_CONFLICT, other.write, theirs, b"x")
    asked = other.send_lock(theirs, [(5, 10, EXCLUSIVE)])
    other.wait_interim(asked)
    one.lock(mine, [(0, 10, smb.LOCKFLAG_UNLOCK)])
    other.wait(asked).check()


def test_a_file_goes_with_the_last_of_its_opens(crew: Crew) -> None:
    one, other = crew.in_each()
    first = new_file(one, options=FILE_DELETE_ON_CLOSE)
    second = new_file(other)
    one.close(first)
    refused(S.DELETE_PENDING, one.create, "file")
    assert (crew.folder / "file").exists()
    other.close(second)
    refused(S.OBJECT_NAME_NOT_FOUND, one.create, "file")
    assert not (crew.folder / "file").exists()


def test_opens_of_the_posix_extensions_hold_up_nobodys_deletion(crew: Crew) -> None:
    one, other = crew.in_each(contexts=asking(POSIX))
    doomed = new_file(one)
    theirs = posix_open(other, "file", access=GENERIC_ALL)
    one.set_info(doomed, FILE_INFO, DISPOSITION, b"\1")
    one.close(doomed)
    assert not (crew.folder / "file").exists()
    assert other.write(theirs, b"what is open stays") == 18


def test_a_renamed_file_has_its_new_name_for_all_and_goes_by_it(crew: Crew) -> None:
    one, other = crew.in_each()
    folder = directory(one, "folder")
    one.close(folder)
    doomed = other.create("folder\\old", access=GENERIC_ALL, disposition=FILE_OPEN_IF, options=FILE_DELETE_ON_CLOSE)
    mine = one.create("folder\\old", access=GENERIC_ALL)
    rename(one, mine, "new")
    name = other.query_info(doomed, FILE_INFO, NAME)[4:].decode("utf-16-le")
    assert name == "\\new"
    other.close(doomed)
    one.close(mine)
    assert not (crew.folder / "new").exists()


def test_a_directory_with_something_open_in_it_is_not_renamed(crew: Crew) -> None:
    one, other = crew.in_each()
    folder = directory(one, "folder")
    child = new_file(other, "folder\\child")
    refused(S.ACCESS_DENIED, rename, one, folder, "elsewhere")
    other.close(child)
    rename(one, folder, "elsewhere")
    assert (crew.folder / "elsewhere" / "child").exists()


def test_a_channel_of_another_client_is_refused_as_by_the_worker_that_has_the_session(crew: Crew) -> None:
    one, other = crew.in_each()
    refused(S.USER_SESSION_DELETED, crew.client, other.client_guid, bind=one.session)


@pytest.mark.parametrize("share", ["share", "quiet"])
def test_a_change_is_told_to_who_watches(crew: Crew, share: str) -> None:
    one, other = crew.in_each()
    one.tree_connect(share)
    other.tree_connect(share)
    watched = directory(one, "")
    asked = one.send_change_notify(watched, 0x1)
    one.wait_interim(asked)
    new_file(other, "appears")
    found = bytes(decode_change_notify_response(one.wait(asked).check().message))
    assert found[12:].decode("utf-16-le").rstrip("\0") == "appears"


def test_what_a_killed_worker_had_open_is_closed_and_who_waited_for_it_goes_on(crew: Crew) -> None:
    holder, other = crew.in_each()
    new_file(holder, oplock_level=OPLOCK_LEVEL_BATCH, share=0)
    asked = begin_open(other)
    other.wait_interim(asked)
    crew.kill(worker(holder))
    file = other.wait(asked).check()
    assert file.status == S.SUCCESS
    again = crew.client()
    refused(S.OBJECT_NAME_NOT_FOUND, again.create, "never")


def test_a_session_is_ended_by_one_that_follows_it_on_another_worker(crew: Crew) -> None:
    lost, other = crew.in_each()
    assert lost.session is not None
    file = new_file(lost, share=0)
    user = crew.server.user
    other.session_setup(user.name, user.password, previous_session_id=lost.session.session_id)
    other.tree_connect("share")
    refused(S.USER_SESSION_DELETED, lost.read, file, 1)
    assert new_file(other, share=0).file_id


def test_another_user_ends_nobodys_session(crew: Crew) -> None:
    lost, other = crew.in_each()
    assert lost.session is not None
    file = new_file(lost)
    stranger = crew.server.layout.users[1]
    other.session_setup(stranger.name, stranger.password, previous_session_id=lost.session.session_id)
    assert lost.write(file, b"still there") == 11


@pytest.mark.parametrize(("first", "second", "status"), [(1, 2, S.SUCCESS), (2, 1, S.FILE_FORCED_CLOSED)])
def test_an_application_takes_its_file_along_to_another_worker(crew: Crew, first: int, second: int, status: S) -> None:
    one, other = crew.in_each()
    new_file(one, share=0, oplock_level=OPLOCK_LEVEL_BATCH, contexts=asked_v2(b"1" * 16) | instance(first))
    contexts = asked_v2(b"2" * 16) | instance(second)
    if status is S.SUCCESS:
        assert new_file(other, share=0, contexts=contexts).file_id
    else:
        refused(status, new_file, other, share=0, contexts=contexts)
