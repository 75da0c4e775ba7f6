"""Security of files that have only an owner, a group and a mode: descriptors made of them and mapped back to them.

The descriptor says what the kernel will say: the owner's bits decide for the owner, even where the group's give more,
and the group's for its members before everyone's. Where a class has less than one after it, a deny entry says so.
"""

from collections.abc import Iterable, Set
from typing import Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.identities import IdentityMap
from lamina.ntfsa.security.security_descriptor import (
    ACCESS_ALLOWED_ACE_TYPE,
    ACCESS_DENIED_ACE_TYPE,
    ACCESS_DENIED_CALLBACK_ACE_TYPE,
    INHERIT_ONLY_ACE,
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
)
from lamina.ntfsa.security.sid import AUTHENTICATED_USERS, EVERYONE, OWNER_RIGHTS
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.token import ImpersonationToken

_READ: Final = c.FILE_READ_DATA | c.FILE_READ_EA
_WRITE: Final = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA | c.FILE_WRITE_EA | c.FILE_WRITE_ATTRIBUTES | c.FILE_DELETE_CHILD
_EXECUTE: Final = c.FILE_EXECUTE
# Looking at a file needs no permission in POSIX; its owner may change mode and times and, as NT sees it, delete it.
_ALWAYS: Final = c.FILE_READ_ATTRIBUTES | c.READ_CONTROL | c.SYNCHRONIZE
_OWNER_ALWAYS: Final = _ALWAYS | c.FILE_WRITE_ATTRIBUTES | c.WRITE_DAC | c.WRITE_OWNER | c.DELETE

_RIGHTS: Final = tuple(
    (_READ if bits & 4 else 0) | (_WRITE if bits & 2 else 0) | (_EXECUTE if bits & 1 else 0) for bits in range(8)
)


class PosixSecurity(NamedTuple):
    """What a file system keeps: permission bits (with set-id and sticky), owner and group."""

    mode: int
    uid: int
    gid: int


def maximal_posix_access(mode: int, uid: int, gid: int, token: ImpersonationToken) -> int:
    """All the rights that `token` has to a file of this mode, owner and group; what the made descriptor would give.

    Root has them all, as the kernel says. Deleting by right of the parent directory is for the caller to add.
    """
    if token.uid == 0:
        return c.FILE_ALL_ACCESS
    if token.uid == uid:
        return _OWNER_ALWAYS | _RIGHTS[mode >> 6 & 7]
    if token.gid == gid or gid in token.groups:
        return _ALWAYS | _RIGHTS[mode >> 3 & 7]
    return _ALWAYS | _RIGHTS[mode & 7]


def descriptor_of_mode(mode: int, uid: int, gid: int, identities: IdentityMap) -> SecurityDescriptor:
    """The descriptor of a file of this mode, owner and group."""
    owner, group = identities.sid_of_uid(uid), identities.sid_of_gid(gid)
    user_bits, group_bits, other_bits = mode >> 6 & 7, mode >> 3 & 7, mode & 7
    aces: list[Ace] = []
    # The owner keeps the right to change attributes, whatever the others have.
    denied = _RIGHTS[(group_bits | other_bits) & ~user_bits & 7] & ~_OWNER_ALWAYS
    if denied:
        aces.append(Ace(ACCESS_DENIED_ACE_TYPE, 0, denied, owner))
    aces.append(Ace(ACCESS_ALLOWED_ACE_TYPE, 0, _OWNER_ALWAYS | _RIGHTS[user_bits], owner))
    denied = _RIGHTS[other_bits & ~group_bits & 7]
    if denied:
        aces.append(Ace(ACCESS_DENIED_ACE_TYPE, 0, denied, group))
    aces.append(Ace(ACCESS_ALLOWED_ACE_TYPE, 0, _ALWAYS | _RIGHTS[group_bits], group))
    aces.append(Ace(ACCESS_ALLOWED_ACE_TYPE, 0, _ALWAYS | _RIGHTS[other_bits], EVERYONE))
    return SecurityDescriptor(owner, group, Acl(tuple(aces)), None, SE_SELF_RELATIVE | SE_DACL_PRESENT)


def posix_of_descriptor(
    descriptor: SecurityDescriptor, security_information: int, current: PosixSecurity, identities: IdentityMap
) -> PosixSecurity:
    """What `current` becomes when the named parts of `descriptor` are set.

    Permission bits of each class are what the list gives to the owner, to the group, and to everyone; entries for
    others cannot be kept. Raises INVALID_OWNER or INVALID_PRIMARY_GROUP for a SID without a user or group.
    """
    mode, uid, gid = current
    if security_information & c.OWNER_SECURITY_INFORMATION:
        uid = _known(identities.uid_of_sid(descriptor.owner or ""), NtStatus.INVALID_OWNER)
    if security_information & c.GROUP_SECURITY_INFORMATION:
        gid = _known(identities.gid_of_sid(descriptor.group or ""), NtStatus.INVALID_PRIMARY_GROUP)
    if security_information & c.DACL_SECURITY_INFORMATION:
        owner, group = identities.sid_of_uid(uid), identities.sid_of_gid(gid)
        mode = mode & ~0o777 | _mode_of(descriptor.dacl, owner, group)
    return PosixSecurity(mode, uid, gid)


def _known(identity: int | None, status: NtStatus) -> int:
    if identity is None:
        raise NtStatusError(status)
    return identity


def _mode_of(dacl: Acl | None, owner: str, group: str) -> int:
    if dacl is None:
        return 0o777
    everyone = {EVERYONE, AUTHENTICATED_USERS}
    user_bits = permission_bits(dacl.aces, everyone | {owner, OWNER_RIGHTS})
    group_bits = permission_bits(dacl.aces, everyone | {group})
    return user_bits << 6 | group_bits << 3 | permission_bits(dacl.aces, everyone)


def permission_bits(aces: Iterable[Ace], sids: Set[str]) -> int:
    """Read 4, write 2, execute 1: what entries give to who has these SIDs."""
    allowed = denied = 0
    for ace in aces:
        if ace.flags & INHERIT_ONLY_ACE or ace.sid not in sids:
            continue
        mask = c.map_generic(ace.mask)
        if ace.type == ACCESS_ALLOWED_ACE_TYPE:
            allowed |= mask & ~denied
        elif ace.type in {ACCESS_DENIED_ACE_TYPE, ACCESS_DENIED_CALLBACK_ACE_TYPE}:
            denied |= mask & ~allowed
    bits = 4 if allowed & c.FILE_READ_DATA else 0
    bits |= 2 if allowed & c.FILE_WRITE_DATA else 0
    return bits | (1 if allowed & c.FILE_EXECUTE else 0)
