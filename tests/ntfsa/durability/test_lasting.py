"""An open without a client at the NT level: whether it is kept, what it is told again, and what its record says."""

import errno

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.durability.capture import capture
from lamina.ntfsa.durability.lasting import grant_of, is_kept, lose_client, regain_client, tell_again
from lamina.ntfsa.durability.open_record import LeaseState
from lamina.ntfsa.durability.rules import NO_GRANT, Kind
from lamina.ntfsa.grants.caching import ANY_CACHING, HANDLE_CACHING, READ_CACHING
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_BATCH as BATCH
from lamina.ntfsa.grants.caching import OPLOCK_LEVEL_NONE as NONE
from lamina.ntfsa.grants.grant_holders import LeaseRequest
from lamina.ntfsa.locks.lock import LockElement, lock
from lamina.ntfsa.record import LockRange
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.module import VfsModule
from tests.ntfsa.conftest import Share

KEY, PARENT = b"the lease key, 1", b"the parent's key"
EXCLUSIVE, SHARED = c.SMB2_LOCKFLAG_EXCLUSIVE_LOCK, c.SMB2_LOCKFLAG_SHARED_LOCK
NOW = c.SMB2_LOCKFLAG_FAIL_IMMEDIATELY
RH = READ_CACHING | HANDLE_CACHING


@pytest.fixture
def batch(share):
    return share.open("folder/file", c.FILE_CREATE, oplock_level=BATCH)


@pytest.fixture(autouse=True)
def folder(share):
    (share.path / "folder").mkdir()


class TestKept:
    def test_it_rests_on_its_oplock(self, share, batch):
        assert grant_of(batch) == (ANY_CACHING, False, False)
        assert is_kept(batch, Kind.DURABLE)

    def test_without_one_only_a_promise_keeps_it(self, share):
        plain = share.open("folder/file", c.FILE_CREATE)
        assert grant_of(plain) == NO_GRANT
        assert not is_kept(plain, Kind.DURABLE)
        assert is_kept(plain, Kind.RESILIENT)

    def test_a_lease_on_handles_will_do(self, share):
        leased = share.open("folder/file", c.FILE_CREATE, lease=LeaseRequest(KEY, RH, 2))
        assert is_kept(leased, Kind.DURABLE)

    def test_another_open_takes_it_away(self, share, batch):
        # Nobody listens to the break: the oplock is given up.
        share.open("folder/file")
        assert not is_kept(batch, Kind.DURABLE)

    @pytest.mark.parametrize("kind", Kind)
    def test_what_is_closed_is_not_kept(self, share, batch, kind):
        share.close(batch)
        assert not is_kept(batch, kind)


class TestToldAgain:
    def test_the_client_learns_what_there_is_now(self, share, batch):
        share.write(batch, b"data")
        told = tell_again(share.context, batch)
        assert (told.information.end_of_file, told.oplock_level, told.lease) == (4, BATCH, None)

    def test_also_what_it_has_lost(self, share, batch):
        share.open("folder/file")
        assert tell_again(share.context, batch).oplock_level == NONE

    def test_also_its_lease(self, share):
        leased = share.open("folder/file", c.FILE_CREATE, lease=LeaseRequest(KEY, RH, 2, 7))
        assert tell_again(share.context, leased).lease == (RH, 8, False, 2)


class TestChain:
    class Refuses(VfsModule):
        """Keeps nothing for anybody."""

        def durable_disconnect(self, token, handle):
            raise OSError(errno.EBUSY, "no")

        def durable_reconnect(self, token, handle):
            raise OSError(errno.EBUSY, "no")

    def test_a_chain_of_nobody_who_minds_is_told_for_nothing(self, share, batch):
        lose_client(share.context, batch)
        regain_client(share.context, batch)

    @pytest.mark.parametrize("tell", [lose_client, regain_client])
    def test_a_module_may_refuse(self, tmp_path, tell):
        share = Share(tmp_path, self.Refuses())
        open_ = share.open("file", c.FILE_CREATE)
        with pytest.raises(NtStatusError) as caught:
            tell(share.context, open_)
        assert caught.value.status is not S.SUCCESS
        share.end()


class TestCapture:
    def test_a_record_has_all_that_the_open_holds(self, share):
        lease = LeaseRequest(KEY, ANY_CACHING, 2, 7, PARENT)
        open_ = share.open(
            "folder/file", c.FILE_CREATE, lease=lease, share_access=5, options=c.FILE_DELETE_ON_CLOSE, allocation_size=9
        )
        lock(share.context, open_, [LockElement(0, 5, EXCLUSIVE | NOW), LockElement(10, 1, SHARED | NOW)])
        open_.position = 77
        state = capture(open_, b"cookie")
        assert (state.path, state.vfs_path, state.stream) == ("folder\\file", "folder/file", "")
        assert (state.file, state.cookie) == (open_.file_key[:2], b"cookie")
        assert (state.granted_access, state.share_access) == (c.FILE_ALL_ACCESS, 5)
        assert state.options & c.FILE_DELETE_ON_CLOSE
        assert (state.position, state.reserved, state.delete_on_close, state.delete_pending) == (77, 9, True, False)
        assert (state.oplock, state.lease) == (0, LeaseState(KEY, 2, ANY_CACHING, 8, PARENT))
        assert state.locks == (LockRange(0, 5, True), LockRange(10, 1, False))

    def test_only_its_own_locks_are_the_opens(self, share):
        one = share.open("folder/file", c.FILE_CREATE)
        other = share.open("folder/file")
        lock(share.context, other, [LockElement(0, 5, EXCLUSIVE | NOW)])
        assert capture(one, b"").locks == ()

    def test_an_oplock_is_its_own(self, share, batch):
        state = capture(batch, b"")
        assert (state.oplock, state.lease) == (ANY_CACHING, None)

    def test_a_file_that_is_to_be_deleted_says_so(self, share, batch):
        share.dispose(batch)
        assert capture(batch, b"").delete_pending
