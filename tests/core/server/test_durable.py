"""Durable opens on the wire: kept without a client, given back, ended (MS-SMB2 3.3.5.9.6, .7, .10, .12, 3.3.7.1)."""

import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.settings import ServerSettings
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import (
    DURABLE_HANDLE_RECONNECT_V2,
    DURABLE_HANDLE_REQUEST,
    DURABLE_HANDLE_REQUEST_V2,
    REQUEST_LEASE,
    decode_lease,
)
from lamina.core.wire.durable_contexts import (
    decode_durable_response_v2,
)
from lamina.core.wire.oplock_break import LeaseBreak, decode_lease_break_notification, encode_lease_break
from lamina.core.wire.write import WriteRequest, encode_write_request
from lamina.ntfsa.constants import FILE_DELETE_ON_CLOSE, FILE_OPEN_IF, FILE_READ_ATTRIBUTES, FILE_READ_DATA
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.status import NtStatus as S
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import OpenHow
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.durable import (
    EXCLUSIVE_LOCK,
    KEY,
    OTHER_CLIENT,
    OTHER_GUID,
    OTHER_KEY,
    UNLOCK,
    Kept,
    asked_v1,
    asked_v2,
    back_v1,
    back_v2,
    begin_open,
    leased,
    refused,
    with_lease,
    with_oplock,
)
from tests.support.granted import RH, RW, RWH, R
from tests.support.served import GENERIC_ALL, PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import Open

Asking = Callable[[], dict[bytes, bytes]]
Back = Callable[[Open], dict[bytes, bytes]]
VERSIONS = pytest.mark.parametrize(("asked", "back"), [(asked_v1, back_v1), (asked_v2, back_v2)], ids=["v1", "v2"])


@VERSIONS
class TestReconnect:
    def test_an_open_with_a_batch_oplock_is_given_back(self, kept: Kept, asked: Asking, back: Back) -> None:
        first = kept.connect()
        file = with_oplock(first, asked())
        first.write(file, b"written before")
        first.lock(file, [(0, 5, EXCLUSIVE_LOCK)])
        kept.cut(first)
        assert kept.waiting == 1

        second = kept.connect()
        again = second.create("whatever", oplock_level=BATCH, contexts=back(file))
        assert (kept.waiting, again.persistent, again.response.oplock_level) == (0, file.persistent, BATCH)
        assert again.response.end_of_file == 14
        assert not again.response.contexts
        assert second.read(again, 100) == b"written before"
        second.lock(again, [(0, 5, UNLOCK)])
        second.close(again)

    def test_an_open_with_a_lease_is_given_back(self, kept: Kept, asked: Asking, back: Back) -> None:
        first = kept.connect()
        file = with_lease(first, asked())
        first.write(file, b"written before")
        kept.cut(first)

        second = kept.connect()
        again = second.create("FILE", oplock_level=LEASE, contexts=leased(0) | back(file))
        assert again.response.oplock_level == LEASE
        assert decode_lease(again.response.contexts[REQUEST_LEASE]).state == RWH
        assert second.read(again, 100) == b"written before"
        second.close(again)

    def test_a_lease_is_asked_for_again(self, kept: Kept, asked: Asking, back: Back) -> None:
        first = kept.connect()
        file = with_lease(first, asked())
        kept.cut(first)
        second = kept.connect()
        for contexts in ({}, leased(RWH, OTHER_KEY), leased(RWH, version=1)):
            wanted = contexts | back(file)
            assert refused(lambda wanted=wanted: second.create("file", contexts=wanted)) is S.OBJECT_NAME_NOT_FOUND
        wanted = leased(RWH) | back(file)
        assert refused(lambda: second.create("other", contexts=wanted)) is S.INVALID_PARAMETER
        other = kept.connect(OTHER_CLIENT)
        assert refused(lambda: other.create("file", contexts=wanted)) is S.OBJECT_NAME_NOT_FOUND
        second.create("file", contexts=wanted)

    def test_another_user_gets_nothing(self, kept: Kept, asked: Asking, back: Back) -> None:
        first = kept.connect()
        file = with_oplock(first, asked())
        kept.cut(first)
        other = kept.connect(user=SECOND_USER, password=SECOND_PASSWORD)
        assert refused(lambda: other.create("file", contexts=back(file))) is S.ACCESS_DENIED
        kept.connect().create("file", contexts=back(file))

    def test_an_open_whose_client_is_there_is_given_to_nobody(self, kept: Kept, asked: Asking, back: Back) -> None:
        client = kept.connect()
        file = with_oplock(client, asked())
        assert refused(lambda: client.create("file", contexts=back(file))) is S.OBJECT_NAME_NOT_FOUND
        assert refused(lambda: kept.connect().create("file", contexts=back(file))) is S.OBJECT_NAME_NOT_FOUND
        client.close(file)
        assert refused(lambda: client.create("file", contexts=back(file))) is S.OBJECT_NAME_NOT_FOUND

    def test_it_can_be_lost_again_and_again(self, kept: Kept, asked: Asking, back: Back) -> None:
        client = kept.connect()
        file = with_oplock(client, asked())
        for number in range(5):
            kept.cut(client)
            client = kept.connect()
            file = client.create("file", contexts=back(file))
            client.write(file, b"%d" % number, number)
        assert client.read(file, 100) == b"01234"

    @pytest.mark.parametrize("end", ["logoff", "previous session"])
    def test_it_outlives_its_session(self, kept: Kept, asked: Asking, back: Back, end: str) -> None:
        client = kept.connect()
        file = with_oplock(client, asked())
        if end == "previous session":
            assert client.session is not None
            lost = client.session.session_id
            client = kept.served.negotiated()
            client.session_setup(USER, PASSWORD, previous_session_id=lost)
        else:
            client.logoff()
            client.session_setup(USER, PASSWORD)
        client.tree_connect("data")
        assert kept.waiting == 1
        assert client.create("file", contexts=back(file)).persistent == file.persistent

    def test_it_ends_with_its_tree(self, kept: Kept, asked: Asking, back: Back) -> None:
        client = kept.connect()
        file = with_oplock(client, asked())
        client.tree_disconnect()
        client.tree_connect("data")
        assert refused(lambda: client.create("file", contexts=back(file))) is S.OBJECT_NAME_NOT_FOUND

    def test_its_time_comes_to_an_end(self, kept: Kept, asked: Asking, back: Back) -> None:
        first = kept.connect()
        file = with_oplock(first, asked())
        kept.cut(first)
        kept.expire()
        second = kept.connect()
        assert refused(lambda: second.create("file", contexts=back(file))) is S.OBJECT_NAME_NOT_FOUND
        assert kept.files == 0


class TestPromise:
    @pytest.mark.parametrize("level", [0, 1, EXCLUSIVE, BATCH])
    @pytest.mark.parametrize("asked", [asked_v1, asked_v2])
    def test_only_a_batch_oplock_carries_one(self, kept: Kept, level: int, asked: Asking) -> None:
        client = kept.connect()
        file = new_file(client, oplock_level=level, contexts=asked())
        assert bool(file.response.contexts) is (level == BATCH)
        kept.cut(client)
        assert kept.waiting == (level == BATCH)

    @pytest.mark.parametrize("state", [0, R, RW, RH, RWH])
    def test_only_a_lease_on_handles_carries_one(self, kept: Kept, state: int) -> None:
        client = kept.connect()
        file = with_lease(client, asked_v2(), state)
        assert (DURABLE_HANDLE_REQUEST_V2 in file.response.contexts) is (state in (RH, RWH))
        kept.cut(client)
        assert kept.waiting == (state in (RH, RWH))

    def test_either_version_may_be_asked_back_by_the_other(self, kept: Kept) -> None:
        client = kept.connect()
        one, two = with_oplock(client, asked_v1(), "one"), with_oplock(client, asked_v2(), "two")
        kept.cut(client)
        client = kept.connect()
        assert refused(lambda: client.create("one", contexts=back_v2(one))) is S.OBJECT_NAME_NOT_FOUND
        client.create("one", contexts=back_v2(one, bytes(16)))
        client.create("two", contexts=back_v1(two))

    @pytest.mark.parametrize(("asked", "given"), [(0, 60_000), (1, 1), (1234, 1234), (2**32 - 1, 300_000)])
    def test_the_time_is_what_is_asked_within_bounds(self, kept: Kept, asked: int, given: int) -> None:
        client = kept.connect()
        file = with_oplock(client, asked_v2(timeout=asked))
        assert decode_durable_response_v2(file.response.contexts[DURABLE_HANDLE_REQUEST_V2]) == (given, 0)

    def test_its_time_is_kept(self, kept: Kept) -> None:
        client = kept.connect()
        with_oplock(client, asked_v2(timeout=1))
        kept.cut(client)
        kept.served.until(lambda: not len(kept.served.core.durables))

    def test_a_directory_is_not_durable(self, kept: Kept) -> None:
        client = kept.connect()
        contexts = leased(RH) | asked_v2()
        folder = client.create("folder", disposition=FILE_OPEN_IF, options=1, oplock_level=LEASE, contexts=contexts)
        assert decode_lease(folder.response.contexts[REQUEST_LEASE]).state == RH
        assert DURABLE_HANDLE_REQUEST_V2 not in folder.response.contexts

    def test_old_dialects_know_version_1_only(self, kept: Kept) -> None:
        client = kept.connect(dialects=(0x0210,))
        assert not with_oplock(client, asked_v2()).response.contexts
        assert with_oplock(client, asked_v1() | asked_v2(), "other").response.contexts

    @pytest.mark.parametrize("one", [asked_v1(), asked_v2(), back_v1(Open(1, 1, None)), back_v2(Open(1, 1, None))])
    def test_versions_are_not_mixed(self, kept: Kept, one: dict[bytes, bytes]) -> None:
        client = kept.connect()
        file = with_oplock(client, asked_v2(OTHER_GUID))
        other = back_v2(file) if DURABLE_HANDLE_REQUEST_V2 in one else asked_v2()
        other = other if DURABLE_HANDLE_RECONNECT_V2 not in one else asked_v1()
        assert refused(lambda: with_oplock(client, one | other, "new")) is S.INVALID_PARAMETER

    @pytest.mark.parametrize("tag", [DURABLE_HANDLE_REQUEST, DURABLE_HANDLE_REQUEST_V2, DURABLE_HANDLE_RECONNECT_V2])
    @pytest.mark.parametrize("size", [0, 15, 31, 33, 37])
    def test_a_context_of_a_wrong_size_is_refused(self, kept: Kept, tag: bytes, size: int) -> None:
        client = kept.connect()
        assert refused(lambda: with_oplock(client, {tag: bytes(size)})) is S.INVALID_PARAMETER

    def test_too_many_opens_without_clients_are_not_kept(self, kept: Kept) -> None:
        kept.served.call(lambda: kept.served.core.apply(_with_limit(kept.served, 2)))
        client = kept.connect()
        for number in range(4):
            with_oplock(client, asked_v2(b"guid %11d" % number), f"file{number}")
        kept.cut(client)
        assert kept.waiting == 2


def _with_limit(served: Served, count: int) -> ServerSettings:
    settings = served.core.settings
    return replace(settings, limits=replace(settings.limits, opens_without_client=count))


class TestBreaks:
    """Who wants what an open without a client holds gets it; the open ends."""

    @pytest.fixture(params=["oplock", "lease"])
    def file(self, request: pytest.FixtureRequest, kept: Kept) -> Open:
        client = kept.connect()
        file = (with_oplock if request.param == "oplock" else with_lease)(client, asked_v2())
        client.write(file, b"written before")
        kept.cut(client)
        return file

    def test_another_open_ends_it(self, kept: Kept, file: Open) -> None:
        other = kept.connect(OTHER_CLIENT)
        opened = other.create("file", access=FILE_READ_DATA)
        assert other.read(opened, 100) == b"written before"
        assert kept.waiting == 0
        wanted = leased(RWH) | back_v2(file)
        assert refused(lambda: kept.connect().create("file", contexts=wanted)) is S.OBJECT_NAME_NOT_FOUND

    def test_one_that_looks_at_attributes_does_not(self, kept: Kept, file: Open) -> None:
        other = kept.connect(OTHER_CLIENT)
        other.close(other.create("file", access=FILE_READ_ATTRIBUTES))
        assert kept.waiting == 1

    def test_a_sharing_violation_ends_what_is_only_kept_open(self, kept: Kept) -> None:
        client = kept.connect()
        with_lease(client, asked_v2(), RH)
        kept.cut(client)
        other = kept.connect(OTHER_CLIENT)
        other.close(other.create("file", access=FILE_READ_DATA))
        assert kept.waiting == 1, "who shares does not take the handle away"
        other.close(other.create("file", access=FILE_READ_DATA, share=0))
        assert kept.waiting == 0

    def test_a_deletion_ends_it(self, kept: Kept, file: Open) -> None:
        other = kept.connect(OTHER_CLIENT)
        other.close(other.create("file", access=GENERIC_ALL, options=FILE_DELETE_ON_CLOSE))
        assert kept.waiting == 0
        assert not (kept.served.folder / "file").exists()

    def test_a_lease_that_somebody_is_there_for_is_his_to_answer(self, kept: Kept) -> None:
        lost, there = kept.connect(), kept.connect()
        with_lease(lost, asked_v2())
        with_lease(there, asked_v2(OTHER_GUID))
        kept.cut(lost)
        other = kept.connect(OTHER_CLIENT)
        message = begin_open(other)
        assert decode_lease_break_notification(there.recv().message).new_state == RH
        there.transact(Command.OPLOCK_BREAK, encode_lease_break(LeaseBreak(KEY, RH))).check()
        other.wait(message).check()
        assert kept.waiting == 1

    def test_what_was_breaking_when_the_client_went_is_not_kept(self, kept: Kept) -> None:
        client = kept.connect()
        with_oplock(client, asked_v2())
        other = kept.connect(OTHER_CLIENT)
        message = begin_open(other)
        client.disconnect()
        other.wait(message).check()
        assert kept.waiting == 0


class TestChain:
    """What the modules of a share have to say about it."""

    class Told(VfsModule, public=("told", "refusing")):
        """Notes what it is told, and refuses what it is to."""

        name: ClassVar[str] = "told"

        def __init__(self) -> None:
            super().__init__()
            self.told: list[str] = []
            self.refusing = ""

        def durable_disconnect(self, token: ImpersonationToken, handle: VfsHandle) -> None:
            self._tell("disconnect")

        def durable_reconnect(self, token: ImpersonationToken, handle: VfsHandle) -> None:
            self._tell("reconnect")

        def _tell(self, what: str) -> None:
            self.told.append(what)
            if self.refusing == what:
                raise OSError(errno.EIO, "not today")

    @pytest.fixture
    def module(self) -> "TestChain.Told":
        return self.Told()

    @pytest.fixture
    def served(self, serve: Callable[..., Served], module: "TestChain.Told") -> Served:
        return serve(chain=(module, "posix"))

    def test_modules_are_told(self, kept: Kept, module: "TestChain.Told") -> None:
        client = kept.connect()
        file = with_oplock(client, asked_v2())
        kept.cut(client)
        assert module.told == ["disconnect"]
        kept.connect().create("file", contexts=back_v2(file))
        assert module.told == ["disconnect", "reconnect"]

    def test_a_module_may_refuse_to_keep_it(self, kept: Kept, module: "TestChain.Told") -> None:
        module.refusing = "disconnect"
        client = kept.connect()
        with_oplock(client, asked_v2())
        kept.cut(client)
        assert kept.waiting == 0

    def test_a_module_may_refuse_to_give_it_back(self, kept: Kept, module: "TestChain.Told") -> None:
        module.refusing = "reconnect"
        client = kept.connect()
        file = with_oplock(client, asked_v2())
        kept.cut(client)
        client = kept.connect()
        assert refused(lambda: client.create("file", contexts=back_v2(file))) is S.IO_DEVICE_ERROR
        assert refused(lambda: client.create("file", contexts=back_v2(file))) is S.OBJECT_NAME_NOT_FOUND
        client.close(new_file(client, share=0))


def test_a_share_may_have_none(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(shares={"data": ShareSpec(tmp_path / "data", durable_handles=False)})
    assert not with_oplock(served.connected(), asked_v2()).response.contexts


class TestManyOpens:
    """What is kept does not wait for what is closed."""

    class Gate(VfsModule, public=("gate", "held")):
        """Holds up the closing of files called slow*."""

        name: ClassVar[str] = "gate"

        def __init__(self) -> None:
            super().__init__()
            self.gate = threading.Event()
            self.held = 0

        def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
            handle = self.next.open(token, directory, path, how)
            self.set_state(handle, path.startswith("slow"))
            return handle

        def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
            if self.state(handle):
                self.held += 1
                offload(token, self.gate.wait, 20)
            self.next.close(token, handle)

    def test_a_client_that_is_back_at_once_finds_it(self, serve: Callable[..., Served]) -> None:
        module = self.Gate()
        kept = Kept(serve(chain=(module, "posix")))
        try:
            client = kept.connect()
            new_file(client, "slow")
            file = with_oplock(client, asked_v2())
            client.disconnect()
            kept.served.until(lambda: module.held == 1)
            kept.connect().create("file", contexts=back_v2(file))
        finally:
            module.gate.set()
        kept.let_go()


class Hanging(VfsModule):
    """A write hangs in a system call, which nothing can stop, until it is let go."""

    _begun = threading.Event()
    _let_go = threading.Event()

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        if bytes(data) == b"hangs":
            self._begun.set()
            offload(token, self._let_go.wait, 20)
        return self.next.pwrite(token, handle, data, offset)


def test_what_the_lost_connection_still_does_comes_before_what_is_done_after_the_reconnect(
    serve: Callable[..., Served],
) -> None:
    kept = Kept(serve(chain=[Hanging, "dos_attributes", "posix"]))
    client = kept.connect()
    file = with_oplock(client, asked_v2())
    body = encode_write_request(WriteRequest(*file.file_id, 0, memoryview(b"hangs")))
    client.send(Command.WRITE, body, payload=5)
    assert Hanging._begun.wait(20)
    client.disconnect()
    kept.served.until(lambda: len(kept.served.core.durables))

    second = kept.connect()
    request = CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF, oplock_level=BATCH, contexts=back_v2(file))
    message = second.send(Command.CREATE, encode_create_request(request))
    second.wait_interim(message)
    Hanging._let_go.set()
    second.wait(message).check()
    second.write(file, b"after")
    assert second.read(file, 10) == b"after"
    second.close(file)
