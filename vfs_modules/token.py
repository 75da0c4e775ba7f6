"""The impersonation token: who an operation is done for.

Every VFS operation takes one as its first argument; nothing in Lamina asks "who is the current user".
A token is immutable. A session that authenticates again gets a new token, so a cached answer keyed by
`cache_id` can never outlive the identity it was computed for.
"""

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_next_cache_id = itertools.count(1).__next__
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class ImpersonationToken:
    """An identity in both worlds, NT (SIDs, privileges) and POSIX (uid, gid, groups).

    `user_sid`, `group_sids`: SIDs in string form ("S-1-5-21-…"), the groups including well-known ones.
    `uid`, `gid`, `groups`: POSIX credentials that system calls are made with when the server is root.
    `privileges`: NT privilege names ("SeBackupPrivilege").
    `claims`: what else is known of the user, by lower-case name: numbers, texts or bytes (MS-DTYP 2.4.10.1).
    `substitutions`: values of %U, %u, %D, %I, %m, %S, %h, %T for paths and options (key without "%").
    `cache_id`: unique per token in this process; compare it instead of the contents.
    """

    user_sid: str
    group_sids: frozenset[str]
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    privileges: frozenset[str] = frozenset()
    claims: Mapping[str, tuple[int | str | bytes, ...]] = field(default_factory=lambda: _NOTHING)
    user_name: str = ""
    substitutions: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    cache_id: int = field(default_factory=_next_cache_id)

    def has_sid(self, sid: str) -> bool:
        """Whether `sid` is the user or one of the groups of this token (MS-DTYP 2.5.3.1.1 SidInToken)."""
        return sid == self.user_sid or sid in self.group_sids


def _server_token() -> ImpersonationToken:
    return ImpersonationToken(
        user_sid="S-1-5-18",
        group_sids=frozenset({"S-1-1-0", "S-1-5-32-544", "S-1-5-11"}),
        uid=os.geteuid(),
        gid=os.getegid(),
        groups=tuple(os.getgroups()),
        privileges=frozenset(
            {"SeBackupPrivilege", "SeRestorePrivilege", "SeSecurityPrivilege", "SeTakeOwnershipPrivilege"}
        ),
        user_name="SYSTEM",
    )


SERVER_TOKEN = _server_token()
"""The identity of the server itself (Local System), for work that no client asked for."""
