"""A POSIX ACL that gives local programs about what an access control list gives clients. Pure.

POSIX lets one entry decide: the owner's, else that of a named user, else those of his groups, else everybody's. So each
gets what the list gives to him and to everyone, denials counted in the list's order; what somebody has by his groups
does not reach an entry of his own. SIDs that stand for no user and no group of the system have no entry.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from lamina.ntfsa.security.identities import IdentityMap
from lamina.ntfsa.security.posix_security import permission_bits
from lamina.ntfsa.security.security_descriptor import (
    CONTAINER_INHERIT_ACE,
    INHERIT_ONLY_ACE,
    OBJECT_INHERIT_ACE,
    Ace,
    Acl,
)
from lamina.ntfsa.security.sid import AUTHENTICATED_USERS, CREATOR_GROUP, CREATOR_OWNER, EVERYONE, OWNER_RIGHTS
from lamina.vfs_modules.forms.posix_acl import (
    GROUP,
    GROUP_OBJ,
    MASK,
    OTHER,
    USER,
    USER_OBJ,
    PosixAcl,
    PosixAclEntry,
    of_mode,
)

MAX_NAMED: Final = 500
"""Entries for named users and groups; ACEs beyond leave no trace, as most file systems would have no room for them."""

_EVERYBODY: Final = frozenset({EVERYONE, AUTHENTICATED_USERS})


class Ownership(NamedTuple):
    """Whose the file is."""

    uid: int
    gid: int


def access_acl(dacl: Acl | None, ownership: Ownership, identities: IdentityMap) -> PosixAcl:
    """The list of the file itself."""
    aces = dacl.aces if dacl is not None else None
    return _acl_of(aces, ownership, identities, frozenset({OWNER_RIGHTS}), frozenset())


def default_acl(dacl: Acl | None, ownership: Ownership, identities: IdentityMap) -> PosixAcl:
    """What a directory gives to files that local programs make in it: by the entries that it passes on.

    Empty where it passes nothing on.
    """
    passed = tuple(
        ace._replace(flags=ace.flags & ~INHERIT_ONLY_ACE)
        for ace in (dacl.aces if dacl is not None else ())
        if ace.flags & OBJECT_INHERIT_ACE and ace.flags & CONTAINER_INHERIT_ACE
    )
    if not passed:
        return ()
    return _acl_of(passed, ownership, identities, frozenset({CREATOR_OWNER}), frozenset({CREATOR_GROUP}))


def _acl_of(
    aces: tuple[Ace, ...] | None,
    ownership: Ownership,
    identities: IdentityMap,
    owner_too: frozenset[str],
    group_too: frozenset[str],
) -> PosixAcl:
    if aces is None:
        return of_mode(0o777)
    users, groups = _principals(aces, identities)
    owner = users.pop(ownership.uid, set()) | owner_too | {identities.sid_of_uid(ownership.uid)}
    group = groups.pop(ownership.gid, set()) | group_too | {identities.sid_of_gid(ownership.gid)}
    owning_group = PosixAclEntry(GROUP_OBJ, permission_bits(aces, group | _EVERYBODY))
    named = [
        PosixAclEntry(tag, permission_bits(aces, sids | _EVERYBODY), identity)
        for tag, ids in ((USER, users), (GROUP, groups))
        for identity, sids in ids.items()
    ]
    return (
        PosixAclEntry(USER_OBJ, permission_bits(aces, owner | _EVERYBODY)),
        *named,
        owning_group,
        *([_mask((*named, owning_group))] if named else ()),
        PosixAclEntry(OTHER, permission_bits(aces, _EVERYBODY)),
    )


def _mask(entries: Iterable[PosixAclEntry]) -> PosixAclEntry:
    bits = 0
    for entry in entries:
        bits |= entry.permissions
    return PosixAclEntry(MASK, bits)


def _principals(aces: tuple[Ace, ...], identities: IdentityMap) -> tuple[dict[int, set[str]], dict[int, set[str]]]:
    """The users and groups that the entries are for: of each id the SIDs that mean it."""
    users: dict[int, set[str]] = {}
    groups: dict[int, set[str]] = {}
    for sid in dict.fromkeys(ace.sid for ace in aces if not ace.flags & INHERIT_ONLY_ACE):
        if len(users) + len(groups) >= MAX_NAMED:
            break
        uid = identities.uid_of_sid(sid)
        gid = identities.gid_of_sid(sid)
        # A SID of a range of ids has both, as nothing in it tells a user from a group; nobody else has either.
        if uid is not None:
            users.setdefault(uid, set()).add(sid)
        if gid is not None:
            groups.setdefault(gid, set()).add(sid)
    return users, groups
