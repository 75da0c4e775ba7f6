"""Persistent opens on the wire: they outlive the server, with all that they hold (MS-SMB2 3.3.5.9.10, 3.3.5.9.12)."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lamina.core.plan import DEFAULT_CHAIN, ModuleSpec
from lamina.core.wire import constants as smb
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import (
    DURABLE_HANDLE_RECONNECT_V2,
    DURABLE_HANDLE_REQUEST_V2,
    REQUEST_LEASE,
    decode_lease,
)
from lamina.core.wire.durable_contexts import DHANDLE_FLAG_PERSISTENT as PERSISTENT
from lamina.core.wire.durable_contexts import (
    DurableReconnect,
    decode_durable_response_v2,
    encode_durable_reconnect_v2,
)
from lamina.core.wire.oplock_break import LeaseBreak, encode_lease_break
from lamina.ntfsa.constants import FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.stock.persistent_store import PersistentStoreModule
from lamina.vfs_modules.stock.persisting.record_store import Change, RecordStore
from lamina.vfs_modules.token import ImpersonationToken
from tests.core.server.test_directory_leases import DISPOSITION, FILE_INFO, RENAME, name_information
from tests.support.durable import CLIENT, GUID, OTHER_CLIENT, OTHER_GUID, asked_v2, back_v2, begin_open, leased
from tests.support.granted import RH, RWH
from tests.support.served import (
    FILE_OPEN_IF,
    GENERIC_ALL,
    PASSWORD,
    SECOND_PASSWORD,
    SECOND_USER,
    USER,
    Served,
    new_file,
)
from tests.support.wire_client import ALL_DIALECTS, Open, StatusError, WireClient

CAP_PERSISTENT_HANDLES, SHARE_CAP_CONTINUOUS_AVAILABILITY = 0x10, 0x10
EXCLUSIVE_LOCK, UNLOCK = 0x12, 0x04
POSITION = 14
UNKNOWN = (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path, serve: Start) -> Iterator[Start]:
    """Start a server on the share of the ones before it. What waits at the end waits for the next start."""
    started: list[Served] = []

    def begin(**options: Any) -> Served:
        above = [options.pop("above")] if "above" in options else []
        store = ModuleSpec("persistent_store", {"path": str(tmp_path / "opens.db")} | options)
        started.append(serve(chain=(*above, store, "durable", *DEFAULT_CHAIN), machine_sid="S-1-5-21-1-2-3"))
        return started[-1]

    yield begin
    for served in started:
        if served.running:
            stop(served)


def connect(served: Served, guid: bytes = CLIENT, user: str = USER, password: str = PASSWORD) -> WireClient:
    client = served.client(client_guid=guid)
    client.negotiate(ALL_DIALECTS)
    client.session_setup(user, password)
    client.tree_connect("data")
    return client


def stop(served: Served) -> None:
    """End the server under its clients."""
    served.server.close()
    served.disconnect()


def asked(guid: bytes = GUID, timeout: int = 0) -> dict[bytes, bytes]:
    return asked_v2(guid, timeout, PERSISTENT)


def again(client: WireClient, file: Open, name: str = "file", **options: Any) -> Open:
    contexts = back_v2(file, options.pop("guid", GUID), PERSISTENT) | options.pop("contexts", {})
    return new_file(client, name, contexts=contexts, **options)


def commits(served: Served) -> int:
    """How often the store of the share was written to."""
    (volume,) = (share.volume for share in served.core.shares if share.volume is not None)
    (module,) = (one for one in volume.whole_chain.modules if isinstance(one, PersistentStoreModule))
    return served.call(lambda: module.statistics()["commits"])


def kept(tmp_path: Path) -> int:
    """How many records there are, while no server runs."""
    store = RecordStore(str(tmp_path / "opens.db"))
    try:
        return len(store.load())
    finally:
        store.close()


def refused(status: int, call: Callable[[], object]) -> None:
    with pytest.raises(StatusError) as caught:
        call()
    assert caught.value.status == status


def test_a_share_says_that_it_is_continuously_available(start: Start) -> None:
    served = start()
    client = served.client()
    assert client.negotiate(ALL_DIALECTS).capabilities & CAP_PERSISTENT_HANDLES
    client.session_setup(USER, PASSWORD)
    assert client.tree_connect("data").capabilities & SHARE_CAP_CONTINUOUS_AVAILABILITY
    assert not client.tree_connect("IPC$").capabilities


def test_a_share_may_keep_it_to_itself(start: Start) -> None:
    served = start(continuous_availability=False)
    assert not served.logged_on().tree_connect("data").capabilities


def test_a_server_without_such_a_share_does_not_speak_of_it(serve: Start) -> None:
    client = serve().client()
    assert not client.negotiate(ALL_DIALECTS).capabilities & CAP_PERSISTENT_HANDLES
    client.session_setup(USER, PASSWORD)
    client.tree_connect("data")
    file = new_file(client, contexts=asked())
    assert DURABLE_HANDLE_REQUEST_V2 not in file.response.contexts


def test_an_open_is_persistent_without_any_right_to_cache(start: Start) -> None:
    file = new_file(connect(start()), contexts=asked())
    told = decode_durable_response_v2(file.response.contexts[DURABLE_HANDLE_REQUEST_V2])
    assert told.flags == PERSISTENT
    assert told.timeout == 60_000


def test_a_closed_open_leaves_nothing_in_the_store(start: Start, tmp_path: Path) -> None:
    served = start()
    client = connect(served)
    client.close(new_file(client, contexts=asked()))
    stop(served)
    assert kept(tmp_path) == 0


def test_an_open_outlives_the_server(start: Start, tmp_path: Path) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    client.write(file, b"before the end")
    stop(served)
    assert kept(tmp_path) == 1

    served = start()
    client = connect(served)
    file = again(client, file)
    assert client.read(file, 100) == b"before the end"
    client.write(file, b"and after", 14)
    client.close(file)
    stop(served)
    assert kept(tmp_path) == 0
    assert (served.folder / "file").read_bytes() == b"before the endand after"


def test_locks_outlive_the_server(start: Start) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    client.write(file, bytes(100))
    client.lock(file, [(10, 10, EXCLUSIVE_LOCK), (50, 5, EXCLUSIVE_LOCK)])
    client.lock(file, [(50, 5, UNLOCK)])
    stop(served)

    served = start()
    client = connect(served)
    file = again(client, file)
    other = connect(served, OTHER_CLIENT)
    theirs = new_file(other)
    refused(S.LOCK_NOT_GRANTED, lambda: other.lock(theirs, [(15, 1, EXCLUSIVE_LOCK)]))
    other.lock(theirs, [(50, 5, EXCLUSIVE_LOCK)])
    client.lock(file, [(10, 10, UNLOCK)])
    other.lock(theirs, [(15, 1, EXCLUSIVE_LOCK)])


def test_a_lock_whose_answer_was_lost_is_not_taken_twice(start: Start) -> None:
    sequence = 1 << 4 | 3  # bucket 1, number 3
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    client.lock(file, [(0, 1, EXCLUSIVE_LOCK)], sequence)
    stop(served)

    served = start()
    client = connect(served)
    file = again(client, file)
    client.lock(file, [(0, 1, EXCLUSIVE_LOCK)], sequence)
    client.lock(file, [(0, 1, UNLOCK)])
    refused(S.RANGE_NOT_LOCKED, lambda: client.lock(file, [(0, 1, UNLOCK)]))


def test_sharing_outlives_the_server(start: Start) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked(), share=0)
    stop(served)

    served = start()
    client = connect(served)
    again(client, file)
    refused(S.SHARING_VIOLATION, lambda: new_file(connect(served, OTHER_CLIENT)))


def test_until_its_client_is_back_nobody_opens_the_file(start: Start) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked())
    stop(served)

    served = start()
    other = connect(served, OTHER_CLIENT)
    refused(S.FILE_NOT_AVAILABLE, lambda: new_file(other, "FILE"))
    new_file(other, "another file")
    again(connect(served), file)
    new_file(other)


def test_a_lease_outlives_the_server_and_breaks_after_it(start: Start) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked() | leased(RWH), oplock_level=LEASE)
    before = decode_lease(file.response.contexts[REQUEST_LEASE])
    stop(served)

    served = start()
    client = connect(served)
    file = again(client, file, contexts=leased(RWH), oplock_level=LEASE)
    after = decode_lease(file.response.contexts[REQUEST_LEASE])
    assert (after.key, after.state) == (before.key, RWH)
    assert after.epoch >= before.epoch
    other = connect(served, OTHER_CLIENT)
    message = begin_open(other)
    client.recv()
    client.transact(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(after.key, RH))).check()
    other.wait(message).check()


def test_a_lease_that_was_broken_comes_back_as_it_was_left(start: Start) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked() | leased(RWH), oplock_level=LEASE)
    key = decode_lease(file.response.contexts[REQUEST_LEASE]).key
    other = connect(served, OTHER_CLIENT)
    message = begin_open(other)
    client.recv()
    client.transact(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(key, RH))).check()
    other.wait(message).check()
    stop(served)

    file = again(connect(start()), file, contexts=leased(RWH), oplock_level=LEASE)
    assert decode_lease(file.response.contexts[REQUEST_LEASE]).state == RH


def test_an_oplock_outlives_the_server(start: Start) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked(), oplock_level=BATCH)
    stop(served)
    assert again(connect(start()), file, oplock_level=BATCH).response.oplock_level == BATCH


def test_deletion_at_close_outlives_the_server(start: Start) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked(), options=FILE_DELETE_ON_CLOSE)
    stop(served)
    assert (served.folder / "file").exists()

    served = start()
    client = connect(served)
    client.close(again(client, file, options=FILE_DELETE_ON_CLOSE))
    assert not (served.folder / "file").exists()


def test_it_is_found_under_the_name_it_has_now(start: Start) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    client.write(file, b"moved")
    stop(served)
    (served.folder / "file").rename(served.folder / "moved away")
    (served.folder / "file").write_bytes(b"another")

    client = connect(start())
    assert client.read(again(client, file), 100) == b"moved"


def test_an_open_of_a_file_that_is_gone_is_dropped(start: Start, tmp_path: Path) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked())
    stop(served)
    (served.folder / "file").unlink()

    served = start()
    client = connect(served)
    refused(S.OBJECT_NAME_NOT_FOUND, lambda: again(client, file))
    new_file(client)
    stop(served)
    assert kept(tmp_path) == 0


def test_nobody_else_gets_it(start: Start) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked())
    stop(served)
    served = start()
    thief = connect(served, CLIENT, SECOND_USER, SECOND_PASSWORD)
    refused(S.ACCESS_DENIED, lambda: again(thief, file))
    refused(S.OBJECT_NAME_NOT_FOUND, lambda: again(connect(served), file, guid=OTHER_GUID))
    again(connect(served), file)


def test_who_never_heard_of_his_open_finds_it_by_its_guid(start: Start) -> None:
    served = start()
    new_file(connect(served), contexts=asked())
    stop(served)
    client = connect(start())
    context = encode_durable_reconnect_v2(DurableReconnect(*UNKNOWN, GUID, PERSISTENT))
    new_file(client, contexts={DURABLE_HANDLE_RECONNECT_V2: context})


def test_a_replay_by_a_new_session_gives_it_back(start: Start) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    client.disconnect()
    served.until(lambda: not served.core.sessions)
    client, stranger = connect(served), connect(served, user=SECOND_USER, password=SECOND_PASSWORD)
    refused(S.DUPLICATE_OBJECTID, lambda: new_file(client, contexts=asked()))
    replay = {"contexts": asked(), "flags": smb.FLAGS_REPLAY_OPERATION}
    refused(S.ACCESS_DENIED, lambda: new_file(stranger, **replay))
    assert new_file(client, **replay).file_id == file.file_id


def test_what_is_not_asked_back_in_time_is_closed(start: Start, tmp_path: Path) -> None:
    served = start()
    file = new_file(connect(served), contexts=asked(timeout=1))
    stop(served)
    served = start()
    served.until(lambda: not len(served.core.durables))
    served.until(lambda: not served.core.engine.running)
    client = connect(served)
    refused(S.OBJECT_NAME_NOT_FOUND, lambda: again(client, file))
    new_file(client)
    stop(served)
    assert kept(tmp_path) == 0


def test_new_opens_have_other_ids(start: Start) -> None:
    served = start()
    client = connect(served)
    files = [new_file(client, f"file {n}", contexts=asked(b"%16d" % n)) for n in range(20)]
    stop(served)
    served = start()
    new = new_file(connect(served), "new")
    assert new.file_id not in {file.file_id for file in files}
    client = connect(served)
    for n, file in enumerate(files):
        again(client, file, f"file {n}", guid=b"%16d" % n)


@pytest.mark.parametrize("spoil", ["torn", "foreign", "half"])
def test_a_store_that_is_not_whole_stops_the_share(start: Start, tmp_path: Path, spoil: str) -> None:
    served = start()
    new_file(connect(served), contexts=asked())
    stop(served)
    path = tmp_path / "opens.db"
    if spoil == "torn":
        path.write_bytes(path.read_bytes()[:5000])
    elif spoil == "foreign":
        path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    else:
        store = RecordStore(str(path))
        (key, _), *_ = store.load().items()
        store.apply([Change(key, b"[99,{},{}]")])
        store.close()
    with pytest.raises(Exception, match="persistent opens"):
        start()


def test_a_stream_stays_open_over_a_restart(start: Start) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, "file:stream", contexts=asked(), share=0)
    client.write(file, b"in the stream")
    stop(served)

    served = start()
    client = connect(served)
    file = again(client, file, "file:stream")
    assert client.read(file, 100) == b"in the stream"
    refused(S.SHARING_VIOLATION, lambda: new_file(connect(served, OTHER_CLIENT), "file:stream"))
    client.close(file)


def test_a_pending_deletion_and_a_position_outlive_the_server(start: Start) -> None:
    served = start()
    client = connect(served)
    file = new_file(client, contexts=asked())
    client.set_info(file, FILE_INFO, POSITION, (1234).to_bytes(8, "little"))
    client.set_info(file, FILE_INFO, DISPOSITION, b"\1")
    stop(served)

    served = start()
    client = connect(served)
    file = again(client, file)
    assert int.from_bytes(client.query_info(file, FILE_INFO, POSITION)[:8], "little") == 1234
    refused(S.DELETE_PENDING, lambda: new_file(connect(served, OTHER_CLIENT)))
    client.close(file)
    assert not (served.folder / "file").exists()


def test_a_renamed_file_and_one_in_a_renamed_directory_are_known_by_their_new_names(start: Start) -> None:
    served = start()
    client = connect(served)
    client.close(client.create("dir", access=GENERIC_ALL, disposition=FILE_OPEN_IF, options=FILE_DIRECTORY_FILE))
    inside = new_file(client, "dir\\inside", contexts=asked(OTHER_GUID))
    client.set_info(inside, FILE_INFO, RENAME, name_information("dir\\renamed"))
    stop(served)

    served = start()
    client = connect(served)
    refused(S.FILE_NOT_AVAILABLE, lambda: new_file(client, "dir\\renamed"))
    again(client, inside, "dir\\renamed", guid=OTHER_GUID)


def test_an_open_and_its_close_cost_two_commits(start: Start) -> None:
    served = start()
    client = connect(served)
    before = commits(served)
    client.close(new_file(client, contexts=asked()))
    assert commits(served) == before + 2


def test_who_comes_at_the_same_time_shares_a_commit(start: Start) -> None:
    served = start()
    client = connect(served)
    before = commits(served)
    requests = [
        CreateRequest(f"file {n}", GENERIC_ALL, 0, 7, FILE_OPEN_IF, contexts=asked(b"%16d" % n)) for n in range(60)
    ]
    messages = [client.send(Command.CREATE, encode_create_request(request)) for request in requests]
    for message in messages:
        client.wait(message).check()
    assert commits(served) - before < len(messages)


class FullStore(VfsModule):
    """A disk that is full whenever `_full` is set."""

    _full: ClassVar[bool] = False

    def save_open(self, token: ImpersonationToken, open_id: int, record: bytes) -> None:
        if FullStore._full:
            raise OSError(errno.ENOSPC, "no space left")
        self.next.save_open(token, open_id, record)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    return lambda now: monkeypatch.setattr(FullStore, "_full", now)


def test_an_open_that_cannot_be_kept_is_not_called_persistent(
    start: Start, full: Callable[[bool], None], bug_reports: list[str]
) -> None:
    client = connect(start(above=FullStore))
    full(True)
    file = new_file(client, contexts=asked() | leased(RWH), oplock_level=LEASE)
    told = decode_durable_response_v2(file.response.contexts[DURABLE_HANDLE_REQUEST_V2])
    assert told.flags == 0
    client.close(file)
    assert any("cannot be kept" in each for each in bug_reports)
    bug_reports.clear()


def test_a_lock_that_cannot_be_kept_is_not_held(
    start: Start, full: Callable[[bool], None], bug_reports: list[str]
) -> None:
    served = start(above=FullStore)
    client = connect(served)
    file = new_file(client, contexts=asked())
    full(True)
    refused(S.DISK_FULL, lambda: client.lock(file, [(0, 1, EXCLUSIVE_LOCK)]))
    full(False)
    client.lock(file, [(0, 1, EXCLUSIVE_LOCK)])
    client.lock(file, [(0, 1, UNLOCK)])
    bug_reports.clear()
