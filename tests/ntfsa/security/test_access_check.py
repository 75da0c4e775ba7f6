import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.access_check import check_access, maximal_access
from lamina.ntfsa.security.security_descriptor import INHERIT_ONLY_ACE, Ace, Acl, SecurityDescriptor
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.token import ImpersonationToken

USER, GROUP, OTHER = "S-1-5-21-1-1-1-1000", "S-1-5-21-1-1-1-513", "S-1-5-21-1-1-1-1001"


def token(*privileges: str) -> ImpersonationToken:
    return ImpersonationToken(USER, frozenset({GROUP, "S-1-1-0"}), 1000, 100, privileges=frozenset(privileges))


def allow(sid: str, mask: int, flags: int = 0) -> Ace:
    return Ace(0, flags, mask, sid)


def deny(sid: str, mask: int, flags: int = 0) -> Ace:
    return Ace(1, flags, mask, sid)


def descriptor(*aces: Ace, owner: str = OTHER) -> SecurityDescriptor:
    return SecurityDescriptor(owner, GROUP, Acl(aces))


@pytest.mark.parametrize(
    ("aces", "granted"),
    [
        ((), 0),
        ((allow(USER, 3),), 3),
        ((allow(OTHER, 3),), 0),
        ((allow(GROUP, c.GENERIC_READ),), c.FILE_GENERIC_READ),
        ((deny(USER, 1), allow(GROUP, 3)), 2),
        ((allow(GROUP, 3), deny(USER, 1)), 3),
        ((allow(USER, 3, INHERIT_ONLY_ACE),), 0),
        ((deny(USER, 3, INHERIT_ONLY_ACE), allow(USER, 3)), 3),
        ((Ace(9, 0, 3, USER, b"artx"),), 0),
        ((Ace(10, 0, 1, USER, b"artx"), allow(USER, 3)), 2),
        ((Ace(5, 0, 0, "", b"opaque.."), allow(USER, 1)), 1),
        ((allow(USER, c.ACCESS_SYSTEM_SECURITY | 1),), 1),
    ],
)
def test_entries_in_order(aces: tuple[Ace, ...], granted: int) -> None:
    assert maximal_access(descriptor(*aces), token()) == granted


def test_no_list_grants_all() -> None:
    assert maximal_access(SecurityDescriptor(OTHER), token()) == c.FILE_ALL_ACCESS


def test_an_owner_may_always_read_and_change_the_list() -> None:
    mine = descriptor(deny(USER, c.WRITE_DAC), owner=USER)
    assert maximal_access(mine, token()) == c.READ_CONTROL | c.WRITE_DAC


def test_owner_rights_limit_the_owner() -> None:
    mine = descriptor(allow("S-1-3-4", c.READ_CONTROL | 1), owner=USER)
    assert maximal_access(mine, token()) == c.READ_CONTROL | 1


@pytest.mark.parametrize(
    ("privilege", "access", "backup_intent"),
    [
        ("SeTakeOwnershipPrivilege", c.WRITE_OWNER, False),
        ("SeSecurityPrivilege", c.ACCESS_SYSTEM_SECURITY, False),
        ("SeBackupPrivilege", c.FILE_READ_DATA, True),
        ("SeRestorePrivilege", c.FILE_WRITE_DATA | c.DELETE | c.WRITE_OWNER, True),
    ],
)
def test_privileges(privilege: str, access: int, backup_intent: bool) -> None:
    closed = descriptor()
    assert check_access(closed, token(privilege), access, backup_intent=backup_intent) == access
    with pytest.raises(NtStatusError):
        check_access(closed, token(), access, backup_intent=backup_intent)


def test_backup_needs_the_intent() -> None:
    with pytest.raises(NtStatusError):
        check_access(descriptor(), token("SeBackupPrivilege"), c.FILE_READ_DATA)


def test_refusals_say_why() -> None:
    with pytest.raises(NtStatusError) as caught:
        check_access(descriptor(allow(USER, 1)), token(), 3)
    assert caught.value.status == NtStatus.ACCESS_DENIED
    with pytest.raises(NtStatusError) as caught:
        check_access(descriptor(allow(USER, 1)), token(), c.ACCESS_SYSTEM_SECURITY)
    assert caught.value.status == NtStatus.PRIVILEGE_NOT_HELD


def test_maximum_allowed_gives_all_there_is_and_what_was_named() -> None:
    readable = descriptor(allow(USER, c.FILE_GENERIC_READ))
    assert check_access(readable, token(), c.MAXIMUM_ALLOWED) == c.FILE_GENERIC_READ
    assert check_access(readable, token(), c.MAXIMUM_ALLOWED | 1) == c.FILE_GENERIC_READ
    with pytest.raises(NtStatusError):
        check_access(readable, token(), c.MAXIMUM_ALLOWED | c.DELETE)
    assert check_access(descriptor(), token("SeSecurityPrivilege"), c.MAXIMUM_ALLOWED) == 0


def test_the_parent_may_give_delete() -> None:
    assert check_access(descriptor(), token(), c.DELETE, already_granted=c.DELETE) == c.DELETE
