"""The access check: what a descriptor lets a token do (MS-DTYP 2.5.3.2 Access Check Algorithm Pseudocode).

Entries with a condition count as 2.4.4.17.3 says: unknown denies and does not allow. Object entries take no part, as
the algorithm has it where there is no tree of objects (MS-FSA 2.1.4.14); neither do types that nobody knows.
"""

from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.ace_condition import Subject, evaluate
from lamina.ntfsa.security.claims import Claim, resource_attributes
from lamina.ntfsa.security.security_descriptor import (
    ACCESS_ALLOWED_ACE_TYPE,
    ACCESS_ALLOWED_CALLBACK_ACE_TYPE,
    ACCESS_DENIED_ACE_TYPE,
    ACCESS_DENIED_CALLBACK_ACE_TYPE,
    INHERIT_ONLY_ACE,
    Acl,
    SecurityDescriptor,
)
from lamina.ntfsa.security.sid import OWNER_RIGHTS
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.token import ImpersonationToken

SE_BACKUP: Final = "SeBackupPrivilege"
SE_RESTORE: Final = "SeRestorePrivilege"
SE_SECURITY: Final = "SeSecurityPrivilege"
SE_TAKE_OWNERSHIP: Final = "SeTakeOwnershipPrivilege"
PRIVILEGES: Final = frozenset({SE_BACKUP, SE_RESTORE, SE_SECURITY, SE_TAKE_OWNERSHIP})
"""The privileges that mean something to a file server (MS-LSAD 3.1.1.2.1)."""

_OWNER_IMPLICIT: Final = c.READ_CONTROL | c.WRITE_DAC
# What the privileges give an open for backup intent (MS-FSA 2.1.5.1, MS-SMB2 2.2.13 FILE_OPEN_FOR_BACKUP_INTENT).
_BACKUP: Final = c.READ_CONTROL | c.ACCESS_SYSTEM_SECURITY | c.FILE_GENERIC_READ | c.FILE_TRAVERSE
_RESTORE: Final = (
    c.WRITE_DAC
    | c.WRITE_OWNER
    | c.ACCESS_SYSTEM_SECURITY
    | c.FILE_GENERIC_WRITE
    | c.FILE_ADD_FILE
    | c.FILE_ADD_SUBDIRECTORY
    | c.DELETE
)


def maximal_access(descriptor: SecurityDescriptor, token: ImpersonationToken, backup_intent: bool = False) -> int:
    """All the rights that `descriptor` and the privileges give `token`.

    With `backup_intent` the backup and restore privileges count. ACCESS_SYSTEM_SECURITY comes by privilege alone.
    """
    granted = granted_by_privilege(token.privileges, backup_intent) if token.privileges else 0
    dacl = descriptor.dacl
    if dacl is None:
        return granted | c.FILE_ALL_ACCESS
    is_owner = descriptor.owner is not None and token.has_sid(descriptor.owner)
    allowed = _evaluate(descriptor, dacl, token, is_owner)
    if is_owner and not _limits_owner(dacl):
        allowed |= _OWNER_IMPLICIT
    return granted | allowed & c.FILE_ALL_ACCESS


def granted_by_privilege(privileges: frozenset[str], backup_intent: bool) -> int:
    """The rights that privileges give, whatever the descriptor says."""
    granted = 0
    if SE_TAKE_OWNERSHIP in privileges:
        granted |= c.WRITE_OWNER
    if SE_SECURITY in privileges:
        granted |= c.ACCESS_SYSTEM_SECURITY
    if backup_intent and SE_BACKUP in privileges:
        granted |= _BACKUP
    if backup_intent and SE_RESTORE in privileges:
        granted |= _RESTORE
    return granted


def _evaluate(descriptor: SecurityDescriptor, dacl: Acl, token: ImpersonationToken, is_owner: bool) -> int:
    # In order: what has been allowed can no longer be denied, nor the reverse.
    allowed = denied = 0
    subject: Subject | None = None
    for ace_type, flags, mask, sid, data in dacl.aces:
        if flags & INHERIT_ONLY_ACE or not (token.has_sid(sid) or (is_owner and sid == OWNER_RIGHTS)):
            continue
        mask = c.map_generic(mask)  # noqa: PLW2901 # the rights it stands for
        if ace_type in _CONDITIONAL:
            subject = subject or subject_of(descriptor, token)
            ace_type = _by_condition(ace_type, data, subject)  # noqa: PLW2901 # what it comes to
        if ace_type == ACCESS_ALLOWED_ACE_TYPE:
            allowed |= mask & ~denied
        elif ace_type == ACCESS_DENIED_ACE_TYPE:
            denied |= mask & ~allowed
    return allowed


_CONDITIONAL: Final = frozenset({ACCESS_ALLOWED_CALLBACK_ACE_TYPE, ACCESS_DENIED_CALLBACK_ACE_TYPE})
_NO_TYPE: Final = -1


def _by_condition(ace_type: int, data: bytes, subject: Subject) -> int:
    """The plain type that an entry with a condition stands for, or none (MS-DTYP 2.4.4.17.3)."""
    fulfilled = evaluate(data, subject)
    if ace_type == ACCESS_ALLOWED_CALLBACK_ACE_TYPE:
        return ACCESS_ALLOWED_ACE_TYPE if fulfilled else _NO_TYPE
    return _NO_TYPE if fulfilled is False else ACCESS_DENIED_ACE_TYPE


def subject_of(descriptor: SecurityDescriptor, token: ImpersonationToken) -> Subject:
    """What the conditions in `descriptor` are evaluated over: made once for all of them."""
    claims = {name: Claim(values) for name, values in token.claims.items()}
    return Subject(token.group_sids | {token.user_sid}, claims, resource_attributes(descriptor.sacl))


def _limits_owner(dacl: Acl) -> bool:
    return any(ace.sid == OWNER_RIGHTS and not ace.flags & INHERIT_ONLY_ACE for ace in dacl.aces)


def check_access(
    descriptor: SecurityDescriptor,
    token: ImpersonationToken,
    desired_access: int,
    *,
    already_granted: int = 0,
    backup_intent: bool = False,
) -> int:
    """The access granted for `desired_access` (which may hold GENERIC_* and MAXIMUM_ALLOWED).

    `already_granted`: rights that something else gives, as the parent directory gives DELETE (MS-FSA 2.1.5.1.2.1).
    Raises ACCESS_DENIED, or PRIVILEGE_NOT_HELD for ACCESS_SYSTEM_SECURITY without the privilege.
    """
    maximal = maximal_access(descriptor, token, backup_intent) | already_granted
    return grant(maximal, desired_access)


def grant(maximal: int, desired_access: int) -> int:
    """The access granted for `desired_access` where `maximal` could be; raises as `check_access` does."""
    desired = c.map_generic(desired_access)
    if desired & c.ACCESS_SYSTEM_SECURITY and not maximal & c.ACCESS_SYSTEM_SECURITY:
        raise NtStatusError(NtStatus.PRIVILEGE_NOT_HELD)
    wanted = desired & ~c.MAXIMUM_ALLOWED
    if wanted & ~maximal:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    # Maximum allowed never includes what only a privilege opens, unless it was asked for by name.
    return wanted | (maximal & ~c.ACCESS_SYSTEM_SECURITY) if desired & c.MAXIMUM_ALLOWED else wanted
