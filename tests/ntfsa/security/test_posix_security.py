import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.access_check import maximal_access
from lamina.ntfsa.security.identities import UnixIdentities
from lamina.ntfsa.security.posix_security import (
    PosixSecurity,
    descriptor_of_mode,
    maximal_posix_access,
    posix_of_descriptor,
)
from lamina.ntfsa.security.security_descriptor import Ace, Acl, SecurityDescriptor
from lamina.ntfsa.security.sid import EVERYONE
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.token import ImpersonationToken

IDS = UnixIdentities()
MODES = st.integers(0, 0o777)


def token(uid: int, *gids: int) -> ImpersonationToken:
    sids = frozenset({EVERYONE, *map(IDS.sid_of_gid, gids)})
    return ImpersonationToken(IDS.sid_of_uid(uid), sids, uid, gids[0] if gids else 9999, tuple(gids[1:]))


@given(MODES, st.sampled_from([token(1000, 1), token(1000, 100), token(5, 100), token(5, 1, 100), token(5, 1)]))
def test_the_made_descriptor_says_what_the_short_way_says(mode: int, who: ImpersonationToken) -> None:
    descriptor = descriptor_of_mode(mode, 1000, 100, IDS)
    assert maximal_access(descriptor, who) == maximal_posix_access(mode, 1000, 100, who)


@given(MODES, st.sampled_from([token(1000, 100), token(5, 100), token(5, 1)]))
def test_one_class_decides_as_in_the_kernel(mode: int, who: ImpersonationToken) -> None:
    bits = mode >> (6 if who.uid == 1000 else 3 if who.gid == 100 else 0) & 7
    granted = maximal_posix_access(mode, 1000, 100, who)
    assert bool(granted & c.FILE_READ_DATA) == bool(bits & 4)
    assert bool(granted & c.FILE_WRITE_DATA) == bool(bits & 2)
    assert bool(granted & c.FILE_EXECUTE) == bool(bits & 1)


@given(MODES, st.sampled_from([0, 0o1000, 0o4000]))
def test_a_made_descriptor_maps_back_to_its_mode(mode: int, special: int) -> None:
    descriptor = descriptor_of_mode(mode, 1000, 100, IDS)
    everything = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
    mapped = posix_of_descriptor(descriptor, everything, PosixSecurity(special, 1, 2), IDS)
    assert mapped == PosixSecurity(mode | special, 1000, 100)


def test_an_owner_with_all_bits_has_full_control() -> None:
    assert maximal_posix_access(0o700, 1000, 100, token(1000)) == c.FILE_ALL_ACCESS
    assert maximal_posix_access(0, 1000, 100, token(0)) == c.FILE_ALL_ACCESS


def test_others_may_never_change_the_permissions() -> None:
    assert not maximal_posix_access(0o777, 1000, 100, token(5, 100)) & (c.WRITE_DAC | c.WRITE_OWNER)


@pytest.mark.parametrize(
    ("information", "status"),
    [
        (c.OWNER_SECURITY_INFORMATION, NtStatus.INVALID_OWNER),
        (c.GROUP_SECURITY_INFORMATION, NtStatus.INVALID_PRIMARY_GROUP),
    ],
)
def test_nobody_can_own_for_a_sid_without_a_user(information: int, status: NtStatus) -> None:
    stranger = SecurityDescriptor("S-1-5-21-9-9-9-9", "S-1-5-21-9-9-9-9")
    with pytest.raises(NtStatusError) as caught:
        posix_of_descriptor(stranger, information, PosixSecurity(0o644, 1, 2), IDS)
    assert caught.value.status == status


def test_no_list_is_everything_to_everyone_and_entries_for_strangers_are_lost() -> None:
    current = PosixSecurity(0o640, 1, 2)
    dacl = c.DACL_SECURITY_INFORMATION
    assert posix_of_descriptor(SecurityDescriptor(), dacl, current, IDS).mode == 0o777
    strangers = SecurityDescriptor(dacl=Acl((Ace(0, 0, c.FILE_ALL_ACCESS, "S-1-5-21-9-9-9-9"),)))
    assert posix_of_descriptor(strangers, dacl, current, IDS).mode == 0


@pytest.mark.parametrize("sid", ["S-1-22-1-x", "S-1-22-1-", "S-1-22-1-4294967295", "S-1-5-18", "", "S-1-22-1-5-5"])
def test_sids_that_are_no_unix_user(sid: str) -> None:
    assert IDS.uid_of_sid(sid) is None


def test_unix_identities() -> None:
    assert IDS.uid_of_sid(IDS.sid_of_uid(7)) == 7
    assert IDS.gid_of_sid(IDS.sid_of_gid(8)) == 8
