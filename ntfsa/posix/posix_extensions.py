"""The POSIX extensions of SMB 3.1.1 at the NT level: what opens with the create context are told, and given.

Such an open has `NtOpen.posix`. Its names are those on disk (`posix_names`), a symbolic link is the client's to follow,
a rename replaces what is open, and a deletion takes the name at the close that asked for it, as POSIX has it.
"""

import errno
import stat as st
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import hides, is_directory, is_regular, network_open, state_of
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.fscc.posix_information import (
    IO_REPARSE_TAG_NFS,
    PERMISSIONS,
    PosixDetails,
    PosixInformation,
    pack_posix_details,
    special_kind,
)
from lamina.ntfsa.fscc.reparse import IO_REPARSE_TAG_SYMLINK, ReparseData
from lamina.ntfsa.metadata.reparse import data_of, is_link
from lamina.ntfsa.security.identities import unix_group_sid, unix_user_sid
from lamina.vfs_modules.forms import posix_acl
from lamina.vfs_modules.operations import FileStat

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.security.identities import IdentityMap
    from lamina.ntfsa.security.security_descriptor import SecurityDescriptor
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

POSIX_CONTEXT: Final = bytes.fromhex("93AD25509CB411E7B42383DE968BCD7C")
"""The tag of the create context (POSIX-SMB2 2.2.13.2.16), and what the extensions are negotiated as."""

_NFS_USER: Final = "S-1-5-88-1-"
_NFS_GROUP: Final = "S-1-5-88-2-"


def posix_information(token: "ImpersonationToken", open_: "NtOpen") -> PosixInformation:
    """Everything that class 100 tells of an open file."""
    stat, dos = state_of(token, open_)
    known = network_open(stat, dos, hides(open_), open_.reserved)
    found = None
    if known.file_attributes & c.FILE_ATTRIBUTE_REPARSE_POINT and not is_link(stat):
        found = data_of(open_.volume, token, open_.handle, open_.vfs_path, stat)
    return posix_information_of(stat, known, found)


def posix_information_of(
    stat: FileStat, known: NetworkOpenInformation, reparse: ReparseData | None
) -> PosixInformation:
    """The same for a file whose state the caller has; `reparse` is its reparse point, where it has one stored."""
    kind, tag = st.S_IFMT(stat.mode), 0
    if not (is_regular(stat) or is_directory(stat)):
        tag = IO_REPARSE_TAG_SYMLINK if is_link(stat) else IO_REPARSE_TAG_NFS
    elif reparse is not None:
        tag = reparse.tag
        # A pipe, socket or device that a client has made is one for clients alone.
        kind = special_kind(reparse.data) if tag == IO_REPARSE_TAG_NFS else 0
    if kind not in {0, st.S_IFREG, st.S_IFDIR}:
        known = known._replace(file_attributes=c.FILE_ATTRIBUTE_REPARSE_POINT)
        mode = st.S_IMODE(stat.mode) | kind
    else:
        mode = stat.mode
    # SIDs that say the number: a client could not know that of an account of this server's.
    details = PosixDetails(stat.nlink, tag, mode, unix_user_sid(stat.uid), unix_group_sid(stat.gid))
    return PosixInformation(known, stat.ino, stat.dev, details)


def answer_posix_context(token: "ImpersonationToken", open_: "NtOpen") -> bytes:
    """The answer to the create context."""
    return pack_posix_details(posix_information(token, open_).details)


def settle_mode(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", stat: FileStat, asked: int
) -> None:
    """Give a new file the mode that was asked for, whatever the server's umask; a POSIX ACL it inherited stays.

    The owner had all rights until now, also where he is to have fewer.
    """
    wanted = asked | stat.mode & st.S_ISGID if is_directory(stat) else asked
    limited = asked & 0o600 != 0o600
    if stat.mode & PERMISSIONS == wanted or (not limited and _has_acl(volume, token, handle)):
        return
    volume.chain.fchmod(token, handle, wanted)


def _has_acl(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle") -> bool:
    try:
        return bool(volume.chain.getxattr(token, handle, posix_acl.ACCESS))
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP, errno.ENOSYS}:
            return False
        raise


def with_known_owners(descriptor: "SecurityDescriptor", identities: "IdentityMap") -> "SecurityDescriptor":
    """The descriptor with the SIDs that Linux has for uids and gids replaced by those that they have here."""
    owner, group = descriptor.owner, descriptor.group
    uid, gid = _number(owner, _NFS_USER), _number(group, _NFS_GROUP)
    if uid is not None:
        owner = identities.sid_of_uid(uid)
    if gid is not None:
        group = identities.sid_of_gid(gid)
    return descriptor._replace(owner=owner, group=group)


def _number(sid: str | None, prefix: str) -> int | None:
    digits = sid.removeprefix(prefix) if sid is not None and sid.startswith(prefix) else ""
    return int(digits) if digits.isdecimal() else None


def with_unix_owners(descriptor: "SecurityDescriptor", identities: "IdentityMap") -> "SecurityDescriptor":
    """The descriptor with SIDs that say their uid or gid, for clients that do not know the accounts here."""

    def told(sid: str) -> str:
        uid = identities.uid_of_sid(sid)
        if uid is not None:
            return unix_user_sid(uid)
        gid = identities.gid_of_sid(sid)
        return sid if gid is None else unix_group_sid(gid)

    dacl = descriptor.dacl
    if dacl is not None:
        dacl = dacl._replace(aces=tuple(ace._replace(sid=told(ace.sid)) for ace in dacl.aces))
    owner, group = (sid and told(sid) for sid in (descriptor.owner, descriptor.group))
    return descriptor._replace(owner=owner, group=group, dacl=dacl)
