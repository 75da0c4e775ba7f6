"""Security descriptors of open files: querying and setting them (MS-FSA 2.1.5.14, 2.1.5.17), and new files'.

A chain that stores descriptors is asked for them. For others they are made of mode and ownership, and what is set is
mapped back to these (`posix_security`).
"""

import errno
import logging
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.borders import translated
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.fscc.fields import UINT32
from lamina.ntfsa.fscc.notify_information import FILE_NOTIFY_CHANGE_SECURITY
from lamina.ntfsa.grants.grant_breaks import security_changes
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.posix.posix_extensions import with_known_owners, with_unix_owners
from lamina.ntfsa.result import Information
from lamina.ntfsa.security.access_check import SE_RESTORE, SE_SECURITY, SE_TAKE_OWNERSHIP
from lamina.ntfsa.security.acl_inheritance import Creator, create_descriptor, passes_on
from lamina.ntfsa.security.audit import AUDIT_TYPES
from lamina.ntfsa.security.posix_acl_mapping import Ownership, access_acl, default_acl
from lamina.ntfsa.security.posix_security import PosixSecurity, descriptor_of_mode, posix_of_descriptor
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_PRESENT,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
    replaced,
    selected,
)
from lamina.ntfsa.security.unix_aces import list_after_chmod, wanted_mode, with_unix_aces, without_mode
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.times.sticky_times import restore_after_change
from lamina.vfs_modules.extensions import ClientTrait
from lamina.vfs_modules.forms import posix_acl
from lamina.vfs_modules.operations import Capability, FileStat
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

_READS: Final = (
    c.OWNER_SECURITY_INFORMATION
    | c.GROUP_SECURITY_INFORMATION
    | c.DACL_SECURITY_INFORMATION
    | c.LABEL_SECURITY_INFORMATION
    | c.ATTRIBUTE_SECURITY_INFORMATION
    | c.SCOPE_SECURITY_INFORMATION
    | c.BACKUP_SECURITY_INFORMATION
)
# What the parts take, to be set (MS-FSA 2.1.5.17; of the newer ones, what Windows asks for).
_OWNERS: Final = (
    c.OWNER_SECURITY_INFORMATION
    | c.GROUP_SECURITY_INFORMATION
    | c.LABEL_SECURITY_INFORMATION
    | c.BACKUP_SECURITY_INFORMATION
)
_LISTS: Final = c.DACL_SECURITY_INFORMATION | c.ATTRIBUTE_SECURITY_INFORMATION | c.BACKUP_SECURITY_INFORMATION
_SYSTEM: Final = c.SACL_SECURITY_INFORMATION | c.SCOPE_SECURITY_INFORMATION | c.BACKUP_SECURITY_INFORMATION
_GIVERS: Final = frozenset({SE_RESTORE, SE_TAKE_OWNERSHIP})
_ALL_PARTS: Final = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION


def descriptor_of(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", stat: FileStat
) -> SecurityDescriptor:
    """The descriptor of an open file, stored or made of its mode."""
    stored = volume.chain.get_security(token, handle, stat)
    if stored is not None:
        return parse_security_descriptor(stored)
    return descriptor_of_mode(stat.mode, stat.uid, stat.gid, volume.identities)


def _require(open_: NtOpen, access: int) -> None:
    if access & ~open_.granted_access:
        raise NtStatusError(NtStatus.ACCESS_DENIED)


@translated
def query_security(context: NtContext, open_: NtOpen, security_information: int, max_length: int) -> Information:
    """The parts of the descriptor that `security_information` names (MS-DTYP 2.4.7), self-relative.

    Raises ACCESS_DENIED; BUFFER_TOO_SMALL with the needed size in `NtStatusError.data`, 4 bytes little-endian.
    """
    if security_information & _READS:
        _require(open_, c.READ_CONTROL)
    if security_information & (c.SACL_SECURITY_INFORMATION | c.BACKUP_SECURITY_INFORMATION):
        _require(open_, c.ACCESS_SYSTEM_SECURITY)
    volume = open_.volume
    stat = volume.chain.fstat(context.token, open_.handle)
    descriptor = descriptor_of(volume, context.token, open_.handle, stat)
    if open_.posix:
        descriptor = with_unix_owners(descriptor, volume.identities)
    if open_.posix or ClientTrait.UNIX_ACES in context.client.traits:
        descriptor = with_unix_aces(descriptor, stat)
    packed = pack_security_descriptor(selected(descriptor, security_information))
    if len(packed) > max_length:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL, data=UINT32.pack(len(packed)))
    return Information(NtStatus.SUCCESS, packed)


@translated
def set_security(context: NtContext, open_: NtOpen, security_information: int, data: memoryview) -> None:
    """Replace the parts that `security_information` names by those of the descriptor in `data`.

    Raises ACCESS_DENIED, INVALID_OWNER, INVALID_PRIMARY_GROUP, INVALID_SECURITY_DESCR and what the parser raises.
    """
    if security_information & _OWNERS:
        _require(open_, c.WRITE_OWNER)
    if security_information & _LISTS:
        _require(open_, c.WRITE_DAC)
    if security_information & _SYSTEM:
        _require(open_, c.ACCESS_SYSTEM_SECURITY)
    if open_.volume.settings.read_only:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the share is read-only")
    if security_information & c.BACKUP_SECURITY_INFORMATION:
        security_information |= _ALL_PARTS
    new = with_known_owners(parse_security_descriptor(data), open_.volume.identities)
    _check_owner(context, open_, new, security_information)
    unix_aces = open_.posix or ClientTrait.UNIX_ACES in context.client.traits
    if unix_aces and security_information & c.DACL_SECURITY_INFORMATION:
        new, security_information = _without_mode(context.token, open_, new, security_information)
    security_changes(open_)
    store(open_.volume, context.token, open_.handle, new, security_information)
    restore_after_change(context.token, open_)
    if open_.volume.watchers is not None:
        open_.volume.watchers.modified(open_.vfs_path, FILE_NOTIFY_CHANGE_SECURITY, open_.parent_key)


def _without_mode(
    token: "ImpersonationToken", open_: NtOpen, new: SecurityDescriptor, security_information: int
) -> tuple[SecurityDescriptor, int]:
    """Set the mode that a descriptor asks for; what is left to set of that, and which parts.

    A client of the POSIX extensions that says the mode has said with it what its list means.
    """
    said = open_.posix and wanted_mode(new) is not None
    new, parts = without_mode(token, open_, new, security_information)
    if not said:
        return new, parts
    volume = open_.volume
    stat = volume.chain.fstat(token, open_.handle)
    stored = volume.chain.get_security(token, open_.handle, stat)
    parts &= ~c.DACL_SECURITY_INFORMATION
    if stored is None:
        return new, parts
    current = PosixSecurity(stat.mode, stat.uid, stat.gid)
    made = descriptor_of_mode(*posix_of_descriptor(new, parts, current, volume.identities), volume.identities)
    dacl = list_after_chmod(parse_security_descriptor(stored), made)
    return new._replace(dacl=dacl, control=new.control | SE_DACL_PRESENT), parts | c.DACL_SECURITY_INFORMATION


def _check_owner(context: NtContext, open_: NtOpen, new: SecurityDescriptor, security_information: int) -> None:
    # Ownership can be taken, not given away, but for who may restore (MS-FSA 2.1.5.17).
    if not security_information & c.OWNER_SECURITY_INFORMATION:
        return
    token = context.token
    if new.owner is None:
        raise NtStatusError(NtStatus.INVALID_OWNER)
    if _may_own(token, new.owner):
        return
    stat = open_.volume.chain.fstat(token, open_.handle)
    if descriptor_of(open_.volume, token, open_.handle, stat).owner != new.owner:
        # Linux makes an input or output error of the other.
        raise NtStatusError(NtStatus.ACCESS_DENIED if open_.posix else NtStatus.INVALID_OWNER)


def store(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", new: SecurityDescriptor, parts: int
) -> None:
    """Store the named parts of a descriptor; map them to mode and ownership too, or alone where none can be stored."""
    stat = volume.chain.fstat(token, handle)
    as_given = Capability.LISTS_AS_GIVEN in volume.capabilities
    merged = replaced(descriptor_of(volume, token, handle, stat), new, parts, as_given)
    if Capability.SECURITY in volume.capabilities:
        _map_as_far_as_possible(volume, token, handle, stat, new, parts)
    try:
        volume.chain.set_security(token, handle, pack_security_descriptor(merged))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
    else:
        return
    _store_as_mode(volume, token, handle, stat, new, parts)


def _map_as_far_as_possible(  # the pieces of one assignment
    volume: "NtVolume",
    token: "ImpersonationToken",
    handle: "VfsHandle",
    stat: FileStat,
    new: SecurityDescriptor,
    parts: int,
) -> None:
    """Let mode and ownership follow a descriptor that is stored: the kernel, and local users, go by them.

    What they cannot say stays unsaid. Where nobody asks the mode (MODE_IGNORED), only the owner follows.
    """
    if Capability.MODE_IGNORED in volume.capabilities and Capability.POSIX_ACLS not in volume.capabilities:
        parts &= c.OWNER_SECURITY_INFORMATION
    for part in (c.OWNER_SECURITY_INFORMATION, c.GROUP_SECURITY_INFORMATION, c.DACL_SECURITY_INFORMATION):
        if parts & part:
            try:
                _store_as_mode(volume, token, handle, stat, new, part)
            except (NtStatusError, OSError) as error:
                log.debug("share %s: a descriptor is not mapped to the mode: %s", volume.name, error)
            stat = volume.chain.fstat(token, handle)


def _store_as_mode(  # the pieces of one assignment
    volume: "NtVolume",
    token: "ImpersonationToken",
    handle: "VfsHandle",
    stat: FileStat,
    new: SecurityDescriptor,
    parts: int,
) -> None:
    current = PosixSecurity(stat.mode & 0o7777, stat.uid, stat.gid)
    said = wanted_mode(new) if parts & c.DACL_SECURITY_INFORMATION else None
    if said is not None:
        parts &= ~c.DACL_SECURITY_INFORMATION
    if parts & c.DACL_SECURITY_INFORMATION and Capability.POSIX_ACLS in volume.capabilities:
        _store_posix_acl(volume, handle, stat, new.dacl)
        return
    mode, uid, gid = posix_of_descriptor(new, parts, current, volume.identities)
    if said is not None:
        mode = mode & ~0o777 | said
    if (uid, gid) != (stat.uid, stat.gid):
        # The kernel gives files away for the server alone; whom that is for has been decided above.
        acting = token if token.privileges.isdisjoint(_GIVERS) else SERVER_TOKEN
        volume.chain.fchown(acting, handle, uid if uid != stat.uid else -1, gid if gid != stat.gid else -1)
    if mode != current.mode:
        volume.chain.fchmod(token, handle, mode)


def _store_posix_acl(volume: "NtVolume", handle: "VfsHandle", stat: FileStat, dacl: Acl | None) -> None:
    """Give a file the POSIX ACL that fits its list. Done as the server: that it may be changed has been checked."""
    ownership = Ownership(stat.uid, stat.gid)
    chain = volume.chain
    chain.setxattr(
        SERVER_TOKEN, handle, posix_acl.ACCESS, posix_acl.pack(access_acl(dacl, ownership, volume.identities))
    )
    if not handle.is_directory:
        return
    passed_on = default_acl(dacl, ownership, volume.identities)
    if passed_on:
        chain.setxattr(SERVER_TOKEN, handle, posix_acl.DEFAULT, posix_acl.pack(passed_on))
        return
    try:
        chain.removexattr(SERVER_TOKEN, handle, posix_acl.DEFAULT)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise


def apply_new_descriptor(  # what is known of the new file
    volume: "NtVolume",
    token: "ImpersonationToken",
    handle: "VfsHandle",
    stat: FileStat,
    given: bytes | None,
    above: bytes | None,
) -> None:
    """Give a new file its descriptor: `given` with what it inherits (MS-DTYP 2.5.3.4), or what it inherits alone.

    `above` is the stored descriptor of its directory. A file that neither is given one nor inherits anything gets none,
    and its mode says what it is; where nobody asks the mode, that is so beneath directories without one. Where no
    descriptors are stored, a given one is mapped to the mode.
    """
    asked = _asked_by(token, volume, given) if given is not None else None
    if Capability.SECURITY not in volume.capabilities:
        if asked is not None:
            parts = (c.DACL_SECURITY_INFORMATION if asked.dacl is not None else 0) | _named_owner(volume, asked, stat)
            if parts:
                store(volume, token, handle, asked, parts)
        return
    parent = parse_security_descriptor(above) if above is not None else None
    if asked is None and not _descends(volume, parent, handle.is_directory):
        return
    if asked is not None:
        _check_new_owner(token, volume, asked, stat)
        _check_new_sacl(token, asked)
    owner, group = volume.identities.sid_of_uid(stat.uid), volume.identities.sid_of_gid(stat.gid)
    creator = Creator(owner, group, volume.capabilities, stat.mode)
    descriptor = create_descriptor(parent, asked, creator, handle.is_directory)
    if Capability.MODE_IGNORED not in volume.capabilities or Capability.POSIX_ACLS in volume.capabilities:
        _map_as_far_as_possible(volume, token, handle, stat, descriptor, c.DACL_SECURITY_INFORMATION)
    volume.chain.set_security(token, handle, pack_security_descriptor(descriptor))


def _asked_by(token: "ImpersonationToken", volume: "NtVolume", given: bytes) -> SecurityDescriptor:
    """The descriptor that a new file is given, with owners that there are here.

    Linux names the uid and gid of its process, if it is mounted so. Whom its user here may not make the owner is left
    out, as an NFS server squashes him.
    """
    asked = parse_security_descriptor(given)
    known = with_known_owners(asked, volume.identities)
    if known.owner != asked.owner and not _may_own(token, known.owner or ""):
        known = known._replace(owner=None)
    if known.group != asked.group and not _may_own(token, known.group or ""):
        known = known._replace(group=None)
    return known


def _descends(volume: "NtVolume", parent: SecurityDescriptor | None, is_directory: bool) -> bool:
    # Beneath a descriptor that passes nothing on a new file is its creator's alone, where no mode says otherwise.
    if parent is None:
        return False
    return Capability.MODE_IGNORED in volume.capabilities or passes_on(parent, is_directory)


def _check_new_owner(
    token: "ImpersonationToken", volume: "NtVolume", asked: SecurityDescriptor, stat: FileStat
) -> None:
    # As for a file that exists (MS-DTYP 2.5.3.4.1): nobody makes a file somebody else's.
    if asked.owner is None or asked.owner == volume.identities.sid_of_uid(stat.uid) or _may_own(token, asked.owner):
        return
    raise NtStatusError(NtStatus.INVALID_OWNER)


def _check_new_sacl(token: "ImpersonationToken", asked: SecurityDescriptor) -> None:
    """PRIVILEGE_NOT_HELD for audit entries of who may not set any on a file that exists."""
    aces = asked.sacl.aces if asked.sacl is not None else ()
    if SE_SECURITY not in token.privileges and any(ace.type in AUDIT_TYPES for ace in aces):
        raise NtStatusError(NtStatus.PRIVILEGE_NOT_HELD)


def _may_own(token: "ImpersonationToken", sid: str) -> bool:
    return token.uid == 0 or token.has_sid(sid) or SE_RESTORE in token.privileges


def _named_owner(volume: "NtVolume", asked: SecurityDescriptor, stat: FileStat) -> int:
    # An owner or group that is anybody else's than the file's already is asked for in earnest.
    parts = 0
    if asked.owner is not None and asked.owner != volume.identities.sid_of_uid(stat.uid):
        parts |= c.OWNER_SECURITY_INFORMATION
    if asked.group is not None and volume.identities.gid_of_sid(asked.group) not in {None, stat.gid}:
        parts |= c.GROUP_SECURITY_INFORMATION
    return parts & _ALL_PARTS
