"""An account: a name with the hash of its password and its identities in both worlds; and the token made from it.

What belongs here is the same for every store of accounts: the value, the protocol of a store, and the relative ids that
are handed out (MS-DTYP 2.4.2.4).
"""

import os
import pwd
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from spnego._ntlm_raw.md4 import md4

from lamina.ntfsa.security.access_check import PRIVILEGES, SE_BACKUP, SE_RESTORE
from lamina.ntfsa.security.identities import unix_group_sid, unix_user_sid
from lamina.ntfsa.security.sid import (
    AUTHENTICATED_USERS,
    BUILTIN_ADMINISTRATORS,
    BUILTIN_BACKUP_OPERATORS,
    BUILTIN_USERS,
    EVERYONE,
    NETWORK,
)
from lamina.vfs_modules.token import ImpersonationToken

GUEST_RID: Final = 501
USERS_RID: Final = 513
GUESTS_RID: Final = 514
FIRST_RID: Final = 1000
"""The first relative id given to an account or a group of ours; those below are reserved (MS-DTYP 2.4.2.4)."""

BUILTIN_GROUPS: Final = {"administrators": BUILTIN_ADMINISTRATORS, "backup operators": BUILTIN_BACKUP_OPERATORS}
"""Members of groups of these names are in the built-in groups of the machine, and have their privileges."""

GROUP_PRIVILEGES: Final = {
    BUILTIN_ADMINISTRATORS: PRIVILEGES,
    BUILTIN_BACKUP_OPERATORS: frozenset({SE_BACKUP, SE_RESTORE}),
}
"""What membership gives on Windows, of the privileges that mean something here."""

_NO_CLAIMS: Final[Mapping[str, tuple[int | str | bytes, ...]]] = MappingProxyType({})
_NAME: Final = re.compile(r'[^\x00-\x1f"/\\\[\]:;|=,+*?<>]{1,256}')


class OwnIdentities(Protocol):
    """What a token of an account is made with; an AccountStore is one."""

    @property
    def machine_sid(self) -> str:
        """The SID that the server's own accounts are relative to."""

    def sid_of_uid(self, uid: int) -> str:
        """The SID of the account with this uid, or S-1-22-1-uid."""

    def sid_of_gid(self, gid: int) -> str:
        """The SID of the group with this gid, or S-1-22-2-gid."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user as a store knows him.

    `nt_hash`: 16 bytes, MD4 of the password in UTF-16LE (MS-NLMP 3.3.1 NTOWFv1). `groups`: POSIX group ids; None asks
    the system's databases for those of `uid`. `extra_groups`: further ones. `group_sids`: SIDs of groups he is in
    besides the well-known ones, and further SIDs of his own. `privileges`: besides those that his groups give.
    `claims`: by lower-case name.
    """

    name: str
    nt_hash: bytes
    sid: str
    uid: int
    gid: int
    groups: tuple[int, ...] | None = None
    extra_groups: tuple[int, ...] = ()
    group_sids: frozenset[str] = frozenset()
    disabled: bool = False
    full_name: str = ""
    privileges: frozenset[str] = frozenset()
    claims: Mapping[str, tuple[int | str | bytes, ...]] = field(default_factory=lambda: _NO_CLAIMS)

    def make_token(
        self, identities: OwnIdentities, substitutions: Mapping[str, str] | None = None
    ) -> ImpersonationToken:
        """The token that requests of this user run with; `identities` gives the SIDs of his POSIX groups.

        It reads the system's group database, which may take its time. Raises nothing: unknown ids have no groups.
        """
        groups = posix_groups(self)
        sids = self._group_sids(identities, groups)
        return ImpersonationToken(
            user_sid=self.sid,
            group_sids=sids,
            uid=self.uid,
            gid=self.gid,
            groups=groups,
            privileges=self.privileges.union(*(GROUP_PRIVILEGES[sid] for sid in sids & GROUP_PRIVILEGES.keys())),
            claims=self.claims,
            user_name=self.name,
            substitutions=dict(substitutions or {}),
        )

    def _group_sids(self, identities: OwnIdentities, groups: tuple[int, ...]) -> frozenset[str]:
        sids = {f"{identities.machine_sid}-{USERS_RID}", EVERYONE, NETWORK, AUTHENTICATED_USERS, BUILTIN_USERS}
        sids.update(self.group_sids)
        for gid in (self.gid, *groups):
            sids.add(identities.sid_of_gid(gid))
            sids.add(unix_group_sid(gid))
        # Several accounts may share one uid, and a file's owner is told by the uid alone: each must be that owner.
        sids.add(identities.sid_of_uid(self.uid))
        sids.add(unix_user_sid(self.uid))
        return frozenset(sids)


class AccountStore(Protocol):
    """Where accounts come from; also the identity map of ntfsa, for files' owners and groups."""

    @property
    def machine_sid(self) -> str:
        """The SID that the server's own accounts are relative to ("S-1-5-21-…")."""

    def lookup(self, name: str) -> Account | None:
        """The account called `name`, in any case. May read a file; raises OSError if that cannot be done."""

    def sid_of_name(self, name: str) -> str | None:
        """The SID of the account or group of this name, in any case; None if there is none."""

    def sid_of_uid(self, uid: int) -> str:
        """The SID of the account with this uid, or S-1-22-1-uid."""

    def sid_of_gid(self, gid: int) -> str:
        """The SID of the group with this gid, or S-1-22-2-gid."""

    def uid_of_sid(self, sid: str) -> int | None:
        """The uid behind a SID, or None if it is not a user known here."""

    def gid_of_sid(self, sid: str) -> int | None:
        """The gid behind a SID, or None if it is not a group known here."""


def nt_hash_of(password: str) -> bytes:
    """The NT hash of a password (MS-NLMP 3.3.1 NTOWFv1)."""
    hashed: bytes = md4(password.encode("utf-16-le", "surrogatepass"))
    return hashed


def make_machine_sid() -> str:
    """A new random machine SID."""
    return "S-1-5-21-" + "-".join(str(secrets.randbits(32)) for _ in range(3))


def check_name(name: str) -> str:
    """`name` if an account or group may be called so (the characters Windows refuses are refused), else ValueError."""
    if not _NAME.fullmatch(name) or name != name.strip():
        raise ValueError(f"{name!r} cannot be the name of an account or a group")
    return name


def posix_groups(account: Account) -> tuple[int, ...]:
    """The POSIX groups of an account: its own list, else what the system's databases say for its uid."""
    if account.groups is not None:
        return (*account.groups, *account.extra_groups)
    try:
        system = os.getgrouplist(pwd.getpwuid(account.uid).pw_name, account.gid)
    except (KeyError, OSError):
        system = [account.gid]
    return tuple(dict.fromkeys((*system, *account.extra_groups)))


def nobody_ids() -> tuple[int, int]:
    """The uid and gid of who has no account: the system's nobody - or this process's, which cannot be another."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return nobody.pw_uid, nobody.pw_gid
