"""Resilient opens on the wire: kept whatever others want of the file, for their time (MS-SMB2 3.3.5.15.9, 3.3.7.1)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.wire import constants as smb
from lamina.core.wire.durable_contexts import encode_resiliency_request
from lamina.ntfsa.constants import FILE_OPEN_IF, FILE_READ_DATA, FSCTL_LMR_REQUEST_RESILIENCY
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_EXCLUSIVE as EXCLUSIVE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_II as LEVEL_II
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_LEASE as LEASE
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.status import NtStatus as S
from tests.support.durable import (
    EXCLUSIVE_LOCK,
    OTHER_CLIENT,
    UNLOCK,
    Kept,
    asked_v1,
    asked_v2,
    back_v1,
    back_v2,
    leased,
    refused,
)
from tests.support.granted import RWH, R
from tests.support.served import GENERIC_ALL, SECOND_PASSWORD, SECOND_USER, Served, new_file
from tests.support.wire_client import Open, WireClient

ALL = 2**64 - 1


def make_resilient(client: WireClient, file: Open, timeout: int = 0) -> None:
    client.ioctl(FSCTL_LMR_REQUEST_RESILIENCY, encode_resiliency_request(timeout), file)


def resilient(client: WireClient, **fields: object) -> Open:
    file = new_file(client, **fields)
    make_resilient(client, file)
    return file


class TestRequest:
    @pytest.mark.parametrize("dialect", [smb.DIALECT_210, smb.DIALECT_300, smb.DIALECT_311])
    def test_it_is_for_all_dialects_but_the_first(self, kept: Kept, dialect: int) -> None:
        client = kept.connect(dialects=(dialect,))
        file = resilient(client)
        kept.cut(client)
        assert kept.waiting == 1
        kept.connect(dialects=(dialect,)).create("file", contexts=back_v1(file))

    def test_the_first_has_none(self, kept: Kept) -> None:
        client = kept.connect(dialects=(smb.DIALECT_202,))
        file = new_file(client)
        assert refused(lambda: make_resilient(client, file)) is S.INVALID_DEVICE_REQUEST

    @pytest.mark.parametrize("data", [b"", bytes(7), encode_resiliency_request(300_001), b"\xff" * 8])
    def test_what_is_too_short_or_asks_for_too_long_is_refused(self, kept: Kept, data: bytes) -> None:
        client = kept.connect()
        file = new_file(client)
        assert refused(lambda: client.ioctl(FSCTL_LMR_REQUEST_RESILIENCY, data, file)) is S.INVALID_PARAMETER

    def test_directories_and_pipes_are_not_kept(self, kept: Kept) -> None:
        client = kept.connect()
        folder = client.create("folder", disposition=FILE_OPEN_IF, options=1)
        assert refused(lambda: make_resilient(client, folder)) is S.NOT_SUPPORTED
        client.tree_connect("IPC$")
        pipe = client.create("srvsvc", access=GENERIC_ALL)
        assert refused(lambda: make_resilient(client, pipe)) is S.INVALID_DEVICE_REQUEST

    def test_a_share_that_keeps_nothing_has_none(self, serve: Callable[..., Served], tmp_path: Path) -> None:
        client = serve(shares={"data": ShareSpec(tmp_path / "data", durable_handles=False)}).connected()
        file = new_file(client)
        assert refused(lambda: make_resilient(client, file)) is S.NOT_SUPPORTED

    def test_its_time_is_kept(self, kept: Kept) -> None:
        client = kept.connect()
        make_resilient(client, new_file(client), 1)
        kept.cut(client)
        kept.served.until(lambda: not len(kept.served.core.durables))

    def test_it_may_be_asked_for_again(self, kept: Kept) -> None:
        client = kept.connect()
        file = resilient(client)
        make_resilient(client, file, 1)
        kept.cut(client)
        kept.served.until(lambda: not len(kept.served.core.durables))


@pytest.mark.parametrize("level", [NONE, LEVEL_II, EXCLUSIVE, BATCH])
class TestWithoutAClient:
    def test_it_needs_no_oplock(self, kept: Kept, level: int) -> None:
        client = kept.connect()
        file = resilient(client, oplock_level=level)
        client.write(file, b"written before")
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)])
        kept.cut(client)
        client = kept.connect()
        file = client.create("file", contexts=back_v1(file))
        assert client.read(file, 100) == b"written before"
        client.lock(file, [(0, 5, UNLOCK)])

    def test_another_open_takes_its_oplock_and_leaves_it(self, kept: Kept, level: int) -> None:
        client = kept.connect()
        file = resilient(client, oplock_level=level)
        kept.cut(client)
        other = kept.connect(OTHER_CLIENT)
        other.write(new_file(other), b"by another")
        assert kept.waiting == 1
        client = kept.connect()
        again = client.create("file", contexts=back_v1(file))
        assert again.response.oplock_level == NONE
        assert client.read(again, 100) == b"by another"

    def test_its_sharing_and_its_locks_hold(self, kept: Kept, level: int) -> None:
        client = kept.connect()
        file = resilient(client, share=1, oplock_level=level)
        client.lock(file, [(0, ALL, EXCLUSIVE_LOCK)])
        kept.cut(client)
        other = kept.connect(OTHER_CLIENT)
        assert refused(lambda: new_file(other)) is S.SHARING_VIOLATION
        reader = other.create("file", access=FILE_READ_DATA)
        assert refused(lambda: other.lock(reader, [(0, 1, EXCLUSIVE_LOCK)])) is S.LOCK_NOT_GRANTED
        kept.expire()
        new_file(other)

    def test_another_user_gets_nothing(self, kept: Kept, level: int) -> None:
        client = kept.connect()
        file = resilient(client, oplock_level=level)
        kept.cut(client)
        other = kept.connect(user=SECOND_USER, password=SECOND_PASSWORD)
        assert refused(lambda: other.create("file", contexts=back_v1(file))) is S.ACCESS_DENIED


class TestTogether:
    """Resiliency beside durability and leases."""

    @pytest.mark.parametrize("asked", [asked_v1, asked_v2])
    def test_what_was_durable_is_more_than_that(self, kept: Kept, asked: Callable[[], dict[bytes, bytes]]) -> None:
        client = kept.connect()
        file = resilient(client, oplock_level=BATCH, contexts=asked())
        kept.cut(client)
        other = kept.connect(OTHER_CLIENT)
        other.close(new_file(other))
        assert kept.waiting == 1
        client = kept.connect()
        contexts = back_v1(file) if asked is asked_v1 else back_v2(file)
        client.create("file", contexts=contexts)

    def test_a_lease_is_asked_for_again(self, kept: Kept) -> None:
        client = kept.connect()
        file = resilient(client, oplock_level=LEASE, contexts=leased(RWH))
        kept.cut(client)
        client = kept.connect()
        assert refused(lambda: client.create("file", contexts=back_v1(file))) is S.OBJECT_NAME_NOT_FOUND
        client.create("file", contexts=back_v1(file) | leased(R))

    def test_a_lease_that_others_break_is_given_up(self, kept: Kept) -> None:
        client = kept.connect()
        file = resilient(client, oplock_level=LEASE, contexts=leased(RWH) | asked_v2())
        kept.cut(client)
        other = kept.connect(OTHER_CLIENT)
        other.close(new_file(other))
        other.write(new_file(other), b"by another")
        client = kept.connect()
        again = client.create("file", contexts=back_v2(file) | leased(RWH))
        assert client.read(again, 100) == b"by another"


class TestLockSequences:
    """A lock whose answer was lost is sent again with its number, and not taken twice (3.3.5.14)."""

    SEQUENCE = 1 << 4 | 7  # bucket 1, number 7

    @pytest.mark.parametrize("dialect", [smb.DIALECT_210, smb.DIALECT_311])
    def test_a_lock_is_not_taken_twice(self, kept: Kept, dialect: int) -> None:
        client = kept.connect(dialects=(dialect,))
        file = resilient(client)
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], self.SEQUENCE)
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], self.SEQUENCE)
        kept.cut(client)
        client = kept.connect(dialects=(dialect,))
        file = client.create("file", contexts=back_v1(file))
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], self.SEQUENCE)
        client.lock(file, [(0, 5, UNLOCK)], self.SEQUENCE + 1)
        client.lock(file, [(0, 5, UNLOCK)], self.SEQUENCE + 1)
        assert refused(lambda: client.lock(file, [(0, 5, UNLOCK)], self.SEQUENCE + 2)) is S.RANGE_NOT_LOCKED

    def test_without_resiliency_an_old_dialect_has_none(self, kept: Kept) -> None:
        client = kept.connect(dialects=(smb.DIALECT_210,))
        file = new_file(client)
        client.lock(file, [(0, 5, EXCLUSIVE_LOCK)], self.SEQUENCE)
        again = [(0, 5, EXCLUSIVE_LOCK)]
        assert refused(lambda: client.lock(file, again, self.SEQUENCE)) is S.LOCK_NOT_GRANTED
