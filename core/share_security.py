"""The access list of a share: who may connect, and what he may do at most (MS-SMB2 3.3.1.6 ConnectSecurity).

What the administrator writes becomes a security descriptor each time that somebody connects, so that who is added to
the accounts later counts, too; it is checked as those of files are. What it grants limits every open in the share.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.access_check import maximal_access
from lamina.ntfsa.security.identities import unix_user_sid
from lamina.ntfsa.security.security_descriptor import (
    ACCESS_ALLOWED_ACE_TYPE,
    ACCESS_DENIED_ACE_TYPE,
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
)
from lamina.ntfsa.security.sid import BUILTIN_ADMINISTRATORS, EVERYONE, WELL_KNOWN
from lamina.vfs_modules.token import ImpersonationToken


class ShareAccess(StrEnum):
    """What somebody may do in a share, in the words of Windows' share permissions; NONE keeps him out."""

    NONE = "none"
    READ = "read"
    CHANGE = "change"
    FULL = "full"


MASKS: Final = {
    ShareAccess.NONE: c.FILE_ALL_ACCESS,
    ShareAccess.READ: 0x001200A9,
    ShareAccess.CHANGE: 0x001301BF,
    ShareAccess.FULL: c.FILE_ALL_ACCESS,
}
"""What is allowed, or for NONE denied."""

READ_ONLY_ACCESS: Final = MASKS[ShareAccess.READ]

_NO_LIST: Final[Mapping[str, ShareAccess]] = MappingProxyType({})


def _unknown(name: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class ShareSecurity:
    """`access`: what named users, groups, well-known names or SIDs may do; without, `allow` may do everything, and
    without that everybody. Of `deny` nobody may connect. `resolve` gives the SID of a name of the accounts, `owner`
    that of whom the files of a uid belong to.
    """

    access: Mapping[str, ShareAccess] = field(default_factory=lambda: _NO_LIST)
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    resolve: Callable[[str], str | None] = _unknown
    owner: Callable[[int], str] = unix_user_sid

    def descriptor(self) -> SecurityDescriptor:
        """The list as a descriptor, denials first. Names that nobody has are left out."""
        access = {**self._granted(), **dict.fromkeys(self.deny, ShareAccess.NONE)}
        denied, allowed = [], []
        for name, level in access.items():
            sid = self._sid(name)
            if sid is not None and level is ShareAccess.NONE:
                denied.append(Ace(ACCESS_DENIED_ACE_TYPE, 0, MASKS[level], sid))
            elif sid is not None:
                allowed.append(Ace(ACCESS_ALLOWED_ACE_TYPE, 0, MASKS[level], sid))
        control = SE_SELF_RELATIVE | SE_DACL_PRESENT
        dacl = Acl((*denied, *allowed))
        return SecurityDescriptor(BUILTIN_ADMINISTRATORS, BUILTIN_ADMINISTRATORS, dacl, None, control)

    def _granted(self) -> Mapping[str, ShareAccess]:
        if self.access:
            return self.access
        return dict.fromkeys(self.allow or (EVERYONE,), ShareAccess.FULL)

    def _sid(self, name: str) -> str | None:
        return name if name.startswith("S-1-") else self.resolve(name) or WELL_KNOWN.get(name.lower())

    def unknown_names(self) -> list[str]:
        """Names that mean nobody now, so that their entries have no effect."""
        return sorted(name for name in {*self.access, *self.allow, *self.deny} if self._sid(name) is None)

    def maximal_access(self, token: ImpersonationToken) -> int:
        """All that the list lets `token` do; 0 keeps him out. Privileges and ownership give nothing here."""
        # Of several accounts with one uid each owns the files of all, but is not meant where another is named.
        own = token.group_sids - {self.owner(token.uid)}
        bare = replace(token, group_sids=own, privileges=frozenset())
        return maximal_access(self.descriptor()._replace(owner=None), bare)
