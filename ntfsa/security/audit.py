"""Audit entries: which accesses of whom are to be told of, and telling (MS-DTYP 2.4.4.10, 2.4.4.11; 2.4.4.1 flags).

An entry of the SACL for a SID of the token, with the flag for success or for failure, names rights. A successful open
is told if it was granted one of the first, a refused one if it asked for one of the second. What is told goes to the
volume's `audit`, which must return at once and not raise: an audit never keeps a request waiting.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.access_check import grant, subject_of
from lamina.ntfsa.security.ace_condition import Subject, evaluate
from lamina.ntfsa.security.security_descriptor import (
    INHERIT_ONLY_ACE,
    SYSTEM_AUDIT_ACE_TYPE,
    SYSTEM_AUDIT_CALLBACK_ACE_TYPE,
    Ace,
    SecurityDescriptor,
)
from lamina.ntfsa.security.sid import OWNER_RIGHTS
from lamina.ntfsa.status import NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken

SUCCESSFUL_ACCESS_ACE_FLAG: Final = 0x40
FAILED_ACCESS_ACE_FLAG: Final = 0x80

AUDIT_TYPES: Final = frozenset({SYSTEM_AUDIT_ACE_TYPE, SYSTEM_AUDIT_CALLBACK_ACE_TYPE})
_RIGHTS: Final = (
    (c.FILE_READ_DATA, "read_data"),
    (c.FILE_WRITE_DATA, "write_data"),
    (c.FILE_APPEND_DATA, "append_data"),
    (c.FILE_READ_EA, "read_ea"),
    (c.FILE_WRITE_EA, "write_ea"),
    (c.FILE_EXECUTE, "execute"),
    (c.FILE_DELETE_CHILD, "delete_child"),
    (c.FILE_READ_ATTRIBUTES, "read_attributes"),
    (c.FILE_WRITE_ATTRIBUTES, "write_attributes"),
    (c.DELETE, "delete"),
    (c.READ_CONTROL, "read_control"),
    (c.WRITE_DAC, "write_dac"),
    (c.WRITE_OWNER, "write_owner"),
    (c.SYNCHRONIZE, "synchronize"),
    (c.ACCESS_SYSTEM_SECURITY, "access_system_security"),
    (c.MAXIMUM_ALLOWED, "maximum_allowed"),
)


class Audited(NamedTuple):
    """The rights whose use, and whose refusal, is told of."""

    success: int = 0
    failure: int = 0


class AuditEvent(NamedTuple):
    """An access that was audited. `path` is the NT path in the share, `access` what was granted or asked for."""

    share: str
    path: str
    user: str
    user_sid: str
    client: str
    access: int
    success: bool

    def rights(self) -> list[str]:
        """The names of the rights in `access`; of a directory FILE_LIST_DIRECTORY is "read_data", and so on."""
        return [name for bit, name in _RIGHTS if self.access & bit]


NOT_AUDITED: Final = Audited()


def audited(descriptor: SecurityDescriptor, token: "ImpersonationToken") -> Audited:
    """What `descriptor` wants to be told of `token`."""
    if descriptor.sacl is None:
        return NOT_AUDITED
    success = failure = 0
    subject: Subject | None = None
    for ace in descriptor.sacl.aces:
        if ace.type in AUDIT_TYPES and not ace.flags & INHERIT_ONLY_ACE and _names(ace, descriptor, token):
            if ace.type == SYSTEM_AUDIT_CALLBACK_ACE_TYPE:
                subject = subject or subject_of(descriptor, token)
                # A condition that is unknown is told of: better once too often.
                if evaluate(ace.data, subject) is False:
                    continue
            mask = c.map_generic(ace.mask)
            success |= mask if ace.flags & SUCCESSFUL_ACCESS_ACE_FLAG else 0
            failure |= mask if ace.flags & FAILED_ACCESS_ACE_FLAG else 0
    return Audited(success, failure) if success or failure else NOT_AUDITED


def _names(ace: Ace, descriptor: SecurityDescriptor, token: "ImpersonationToken") -> bool:
    if ace.sid == OWNER_RIGHTS and descriptor.owner is not None:
        return token.has_sid(descriptor.owner)
    return token.has_sid(ace.sid)


def audited_grant(
    context: "NtContext", volume: "NtVolume", path: str, maximal: int, desired: int, wanted: Audited
) -> int:
    """`access_check.grant`, telling of what came of it where the file wants that."""
    try:
        granted = grant(maximal, desired)
    except NtStatusError:
        if c.map_generic(desired) & wanted.failure:
            tell(context, volume, path, c.map_generic(desired), success=False)
        raise
    if granted & wanted.success:
        tell(context, volume, path, granted, success=True)
    return granted


def tell(context: "NtContext", volume: "NtVolume", path: str, access: int, success: bool) -> None:
    """Hand an event to the volume's audit, if it has one."""
    if volume.audit is not None:
        token = context.token
        volume.audit(
            AuditEvent(volume.name, path, token.user_name, token.user_sid, context.client_address, access, success)
        )
