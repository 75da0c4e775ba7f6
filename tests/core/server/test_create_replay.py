"""A CREATE that is sent again, and instances of applications that move (MS-SMB2 3.3.5.9.10, 3.3.5.9.13)."""

import pytest

from lamina.core.wire import constants as smb
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, decode_create_response, encode_create_request
from lamina.core.wire.create_contexts import (
    APP_INSTANCE_ID,
    APP_INSTANCE_VERSION,
    DURABLE_HANDLE_REQUEST_V2,
)
from lamina.core.wire.durable_contexts import (
    AppInstanceVersion,
    encode_app_instance_id,
    encode_app_instance_version,
)
from lamina.core.wire.lock import LockRequest, WireLock, encode_lock_request
from lamina.core.wire.oplock_break import OplockBreak, encode_oplock_break
from lamina.ntfsa.constants import FILE_OPEN_IF
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.status import NtStatus as S
from tests.support.durable import (
    OTHER_CLIENT,
    OTHER_GUID,
    OTHER_KEY,
    Kept,
    asked_v2,
    back_v2,
    leased,
    refused,
    with_lease,
    with_oplock,
)
from tests.support.granted import RH, RWH
from tests.support.served import GENERIC_ALL, PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, new_file
from tests.support.wire_client import Open, WireClient

REPLAY = {"flags": smb.FLAGS_REPLAY_OPERATION}
CREATED = 2


def second_channel(kept: Kept, first: WireClient) -> WireClient:
    """Another connection of the session of `first`, in the same tree."""
    client = kept.served.client()
    client.negotiate()
    assert first.session is not None
    client.session_setup(USER, PASSWORD, bind=first.session)
    client.tree_id = first.tree_id
    return client


class TestReplay:
    @pytest.mark.parametrize("level", [NONE, BATCH])
    def test_the_answer_is_given_again(self, kept: Kept, level: int) -> None:
        client = kept.connect()
        file = new_file(client, oplock_level=level, contexts=asked_v2())
        again = new_file(client, oplock_level=level, contexts=asked_v2(), **REPLAY)
        assert again.response == file.response
        assert again.response.create_action == CREATED
        client.close(again)
        assert refused(lambda: client.close(file)) is S.FILE_CLOSED

    def test_also_with_a_lease(self, kept: Kept) -> None:
        client = kept.connect()
        file = with_lease(client, asked_v2())
        again = new_file(client, oplock_level=LEASE, contexts=leased(RWH) | asked_v2(), **REPLAY)
        assert again.response == file.response

    def test_also_on_another_channel(self, kept: Kept) -> None:
        client = kept.connect()
        file = with_oplock(client, asked_v2())
        again = with_oplock(second_channel(kept, client), asked_v2(), **REPLAY)
        assert again.response == file.response

    def test_without_the_flag_it_is_a_duplicate(self, kept: Kept) -> None:
        client = kept.connect()
        with_oplock(client, asked_v2())
        assert refused(lambda: with_oplock(client, asked_v2(), "other")) is S.DUPLICATE_OBJECTID

    def test_a_replay_of_what_never_came_is_a_new_open(self, kept: Kept) -> None:
        assert with_oplock(kept.connect(), asked_v2(), **REPLAY).response.create_action == CREATED

    def test_once_something_was_done_with_it_there_is_nothing_to_replay(self, kept: Kept) -> None:
        client = kept.connect()
        file = new_file(client, contexts=asked_v2())
        client.write(file, b"data")
        assert new_file(client, contexts=asked_v2(), **REPLAY).file_id != file.file_id

    def test_of_two_opens_of_a_guid_the_newer_is_replayed(self, kept: Kept) -> None:
        client = kept.connect()
        first = with_oplock(client, asked_v2())
        client.write(first, b"data")
        kept.cut(client)
        client = kept.connect()
        second = with_oplock(client, asked_v2(), "other", **REPLAY)
        assert second.file_id != first.file_id
        client.create("file", contexts=back_v2(first))
        assert with_oplock(client, asked_v2(), "other", **REPLAY).file_id == second.file_id

    def test_a_closed_open_leaves_its_guid_free(self, kept: Kept) -> None:
        client = kept.connect()
        client.close(with_oplock(client, asked_v2()))
        with_oplock(client, asked_v2())

    def test_the_guid_is_the_clients_own(self, kept: Kept) -> None:
        new_file(kept.connect(), contexts=asked_v2())
        other = kept.connect(OTHER_CLIENT)
        assert new_file(other, contexts=asked_v2(), **REPLAY).response.create_action != CREATED

    def test_another_session_of_the_client_has_no_part_in_it(self, kept: Kept) -> None:
        with_oplock(kept.connect(), asked_v2())
        other = kept.connect(user=SECOND_USER, password=SECOND_PASSWORD)
        assert refused(lambda: with_oplock(other, asked_v2(), **REPLAY)) is S.DUPLICATE_OBJECTID

    @pytest.mark.parametrize("contexts", [{}, leased(RH, OTHER_KEY)])
    def test_another_lease_is_another_request(self, kept: Kept, contexts: dict[bytes, bytes]) -> None:
        client = kept.connect()
        with_lease(client, asked_v2())
        level = LEASE if contexts else BATCH
        asked = contexts | asked_v2()
        again = lambda: new_file(client, oplock_level=level, contexts=asked, **REPLAY)  # noqa: E731
        assert refused(again) is S.ACCESS_DENIED

    def test_a_lower_oplock_is_told_and_the_open_keeps_its_own(self, kept: Kept) -> None:
        client = kept.connect()
        file = with_oplock(client, asked_v2())
        again = new_file(client, oplock_level=LEVEL_II, contexts=asked_v2(), **REPLAY)
        assert again.response.oplock_level == LEVEL_II
        assert DURABLE_HANDLE_REQUEST_V2 not in again.response.contexts
        kept.cut(client)
        assert kept.waiting == 1
        assert again.file_id == file.file_id


class TestPending:
    """The first CREATE still waits when it is sent again."""

    BODY = encode_create_request(CreateRequest("file", GENERIC_ALL, 0, 7, FILE_OPEN_IF, 0, BATCH, contexts=asked_v2()))

    @pytest.fixture
    def holder(self, kept: Kept) -> tuple[WireClient, Open]:
        other = kept.connect(OTHER_CLIENT)
        return other, with_oplock(other, {})

    @staticmethod
    def give_up(holder: tuple[WireClient, Open]) -> None:
        client, file = holder
        client.transact(Command.OPLOCK_BREAK, encode_oplock_break(OplockBreak(*file.file_id, LEVEL_II))).check()

    def test_it_is_not_available_until_it_is_there(self, kept: Kept, holder: tuple[WireClient, Open]) -> None:
        client = kept.connect()
        first = client.send(Command.CREATE, self.BODY)
        client.wait_interim(first)
        assert client.transact(Command.CREATE, self.BODY, **REPLAY).status == S.FILE_NOT_AVAILABLE
        assert client.transact(Command.CREATE, self.BODY).status == S.DUPLICATE_OBJECTID
        self.give_up(holder)
        made = decode_create_response(client.wait(first).check().message)
        again = decode_create_response(client.transact(Command.CREATE, self.BODY, **REPLAY).check().message)
        assert (again.persistent, again.volatile) == (made.persistent, made.volatile)

    def test_it_goes_on_without_its_channel(self, kept: Kept, holder: tuple[WireClient, Open]) -> None:
        client = kept.connect()
        other_channel = second_channel(kept, client)
        client.wait_interim(client.send(Command.CREATE, self.BODY))
        client.disconnect()
        kept.served.until(lambda: len(kept.served.core.connections) == 2)
        assert other_channel.transact(Command.CREATE, self.BODY, **REPLAY).status == S.FILE_NOT_AVAILABLE
        self.give_up(holder)
        kept.served.until(lambda: not kept.served.core.engine.running)
        other_channel.transact(Command.CREATE, self.BODY, **REPLAY).check()
        assert kept.served.counts()["opens"] == 2

    def test_without_another_channel_it_ends(self, kept: Kept, holder: tuple[WireClient, Open]) -> None:
        client = kept.connect()
        client.wait_interim(client.send(Command.CREATE, self.BODY))
        client.disconnect()
        kept.served.until(lambda: not kept.served.core.engine.running)
        assert kept.served.counts()["opens"] == 1

    def test_a_server_that_stops_does_not_wait_for_it(self, kept: Kept, holder: tuple[WireClient, Open]) -> None:
        client = kept.connect()
        second_channel(kept, client)
        client.wait_interim(client.send(Command.CREATE, self.BODY))
        client.disconnect()
        kept.served.until(lambda: len(kept.served.core.connections) == 2)

    def test_one_that_fails_leaves_its_guid_free(self, kept: Kept) -> None:
        client = kept.connect()
        new_file(kept.connect(OTHER_CLIENT), share=0)
        for _ in range(2):
            assert refused(lambda: with_oplock(client, asked_v2(), share=0)) is S.SHARING_VIOLATION


def instance(name: bytes = b"an instance's id", version: tuple[int, int] | None = None) -> dict[bytes, bytes]:
    contexts = {APP_INSTANCE_ID: encode_app_instance_id(name)}
    if version is not None:
        contexts[APP_INSTANCE_VERSION] = encode_app_instance_version(AppInstanceVersion(*version))
    return contexts


class TestAppInstance:
    """An application that was moved to another client takes its files along."""

    def test_the_open_of_the_former_client_is_closed_without_a_word(self, kept: Kept) -> None:
        before, after = kept.connect(), kept.connect(OTHER_CLIENT)
        file = with_oplock(before, instance() | asked_v2(), share=0)
        with_oplock(after, instance() | asked_v2(OTHER_GUID), share=0)
        assert refused(lambda: before.close(file)) is S.FILE_CLOSED
        assert not before.unclaimed

    def test_also_one_without_a_client(self, kept: Kept) -> None:
        before = kept.connect()
        with_oplock(before, instance() | asked_v2(), share=0)
        kept.cut(before)
        with_oplock(kept.connect(OTHER_CLIENT), instance() | asked_v2(OTHER_GUID), share=0)
        assert kept.waiting == 0

    def test_it_needs_no_durability(self, kept: Kept) -> None:
        before, after = kept.connect(), kept.connect(OTHER_CLIENT)
        file = new_file(before, share=0, contexts=instance())
        new_file(after, share=0, contexts=instance())
        assert refused(lambda: before.close(file)) is S.FILE_CLOSED

    @pytest.mark.parametrize("other", ["client", "instance", "file"])
    def test_others_are_left_alone(self, kept: Kept, other: str) -> None:
        before = kept.connect()
        after = kept.connect(b"wire-client-guid" if other == "client" else OTHER_CLIENT)
        file = new_file(before, contexts=instance())
        name = instance(b"another instance") if other == "instance" else instance()
        new_file(after, "other" if other == "file" else "file", contexts=name)
        before.close(file)

    @pytest.mark.parametrize(
        ("before", "after", "closed"),
        [
            ((1, 0), (1, 1), True),
            ((1, 5), (2, 0), True),
            ((1, 1), (1, 1), False),
            ((2, 0), (1, 9), False),
            ((1, 1), None, True),
            (None, (1, 1), True),
        ],
    )
    def test_the_newer_instance_wins(
        self, kept: Kept, before: tuple[int, int] | None, after: tuple[int, int] | None, closed: bool
    ) -> None:
        first, second = kept.connect(), kept.connect(OTHER_CLIENT)
        file = new_file(first, contexts=instance(version=before))
        if closed:
            new_file(second, contexts=instance(version=after))
            assert refused(lambda: first.close(file)) is S.FILE_CLOSED
        else:
            again = lambda: new_file(second, contexts=instance(version=after))  # noqa: E731
            assert refused(again) is S.FILE_FORCED_CLOSED
            first.close(file)

    def test_versions_came_with_smb_3_1_1(self, kept: Kept) -> None:
        first, second = kept.connect(), kept.connect(OTHER_CLIENT, dialects=(smb.DIALECT_302,))
        file = new_file(first, contexts=instance(version=(2, 0)))
        new_file(second, contexts=instance(version=(1, 0)))
        assert refused(lambda: first.close(file)) is S.FILE_CLOSED

    def test_an_open_that_is_in_use_is_closed_too(self, kept: Kept) -> None:
        before, after = kept.connect(), kept.connect(OTHER_CLIENT)
        file = new_file(before, contexts=instance())
        before.lock(file, [(0, 1, 0x12)])
        waiting = new_file(before)
        message = begin_open_lock(before, waiting)
        new_file(after, contexts=instance())
        before.wait(message).check()


def begin_open_lock(client: WireClient, file: Open) -> int:
    """Ask for a lock that has to wait; its message id."""
    body = encode_lock_request(LockRequest(*file.file_id, (WireLock(0, 1, 0x02),)))
    message = client.send(Command.LOCK, body)
    client.wait_interim(message)
    return message
