"""What a token may do to a file: its descriptor, stored or made of the mode, and what its directory gives.

MS-FSA 2.1.5.1.2.1 Algorithm to Check Access to an Existing File.
"""

import stat as st
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import is_directory
from lamina.ntfsa.naming.lookup import nt_path, split, stat_or_none
from lamina.ntfsa.security.access_check import (
    SE_BACKUP,
    SE_RESTORE,
    granted_by_privilege,
    maximal_access,
)
from lamina.ntfsa.security.audit import NOT_AUDITED, Audited, audited, tell
from lamina.ntfsa.security.posix_security import maximal_posix_access
from lamina.ntfsa.security.security_descriptor import parse_security_descriptor
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Access, FileStat, OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

_WRITE: Final = c.FILE_WRITE_DATA | c.FILE_APPEND_DATA
_READONLY_DENIES: Final = _WRITE | c.FILE_DELETE_CHILD
MODIFIES: Final = (
    _WRITE | c.FILE_WRITE_EA | c.FILE_WRITE_ATTRIBUTES | c.FILE_DELETE_CHILD | c.DELETE | c.WRITE_DAC | c.WRITE_OWNER
)
"""Rights that no one has on a read-only volume."""

_REMEMBERED: Final = 4096
"""Bytes of a descriptor up to which what it gives is remembered: so memory is bounded whatever clients store."""

_PATH_HOW: Final = OpenHow(Access.PATH)


Rights = tuple[int, Audited]
"""All the rights of a token to a file, without what its directory gives; and of what is to be told."""


def rights_to(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", stat: FileStat, backup_intent: bool = False
) -> Rights:
    """The rights of `token` to an open file."""
    stored = volume.chain.get_security(token, handle, stat) if volume.has_security else None
    return _rights(token, stored, stat, backup_intent)


def _rights(token: "ImpersonationToken", stored: bytes | None, stat: FileStat, backup_intent: bool = False) -> Rights:
    if stored is not None:
        evaluate = _stored_rights if len(stored) <= _REMEMBERED else _stored_rights.__wrapped__
        return evaluate(stored, token, backup_intent)
    rights = maximal_posix_access(stat.mode, stat.uid, stat.gid, token)
    if token.privileges:
        rights |= granted_by_privilege(token.privileges, backup_intent)
    return rights, NOT_AUDITED


@lru_cache(maxsize=2048)
def _stored_rights(stored: bytes, token: "ImpersonationToken", backup_intent: bool) -> Rights:
    # Most files of a tree have one of a few descriptors; tokens never change.
    descriptor = parse_security_descriptor(stored)
    return maximal_access(descriptor, token, backup_intent), audited(descriptor, token)


def opens_by_privilege(token: "ImpersonationToken", access: Access, backup_intent: bool) -> bool:
    """Whether privileges open a file that the kernel refuses the user, so that the server may do it for him."""
    if not backup_intent or not token.privileges:
        return False
    reads = not access & Access.READ or SE_BACKUP in token.privileges
    writes = not access & Access.WRITE or SE_RESTORE in token.privileges
    return reads and writes and not token.privileges.isdisjoint({SE_BACKUP, SE_RESTORE})


def stored_at(volume: "NtVolume", token: "ImpersonationToken", vfs_path: str, stat: FileStat) -> bytes | None:
    """The descriptor that is stored for what a chain path leads to, or None."""
    if not volume.has_security:
        return None
    if not vfs_path:
        return volume.chain.get_security(token, volume.root, stat)
    handle = volume.chain.open(token, volume.root, vfs_path, _PATH_HOW)
    try:
        return volume.chain.get_security(token, handle, stat)
    finally:
        volume.chain.close(token, handle)


def rights_to_path(volume: "NtVolume", token: "ImpersonationToken", vfs_path: str, stat: FileStat) -> int:
    """All the rights of `token` to what a chain path leads to, without what its directory gives."""
    return _rights(token, stored_at(volume, token, vfs_path, stat), stat)[0]


def rights_by_directory(volume: "NtVolume", token: "ImpersonationToken", vfs_path: str, stat: FileStat) -> int:
    """What the directory above gives to what `vfs_path` names (MS-FSA 2.1.5.1.2.1).

    DELETE for FILE_DELETE_CHILD, unless the directory is sticky and neither it nor the file is the user's;
    FILE_READ_ATTRIBUTES for FILE_LIST_DIRECTORY.
    """
    if not vfs_path:
        return 0
    directory = split(vfs_path)[0]
    above = stat_or_none(volume, token, directory)
    if above is None:
        return 0
    rights = rights_to_path(volume, token, directory, above)
    given = c.FILE_READ_ATTRIBUTES if rights & c.FILE_LIST_DIRECTORY else 0
    sticky = above.mode & st.S_ISVTX and token.uid not in {0, above.uid, stat.uid}
    return given | c.DELETE if rights & c.FILE_DELETE_CHILD and not sticky else given


def may_delete(volume: "NtVolume", context: "NtContext", vfs_path: str, stat: FileStat) -> bool:
    """Whether the user may delete what `vfs_path` names: by its own descriptor, or by the directory above.

    Told of where the file asks for it, as if it had been opened for that.
    """
    token = context.token
    own, wanted = _rights(token, stored_at(volume, token, vfs_path, stat), stat)
    granted = bool((own | rights_by_directory(volume, token, vfs_path, stat)) & c.DELETE & context.share_access)
    if wanted is not NOT_AUDITED and c.DELETE & (wanted.success if granted else wanted.failure):
        tell(context, volume, nt_path(vfs_path), c.DELETE, granted)
    return granted


def require_child_creation(
    volume: "NtVolume",
    context: "NtContext",
    directory: str,
    stat: FileStat,
    new_directory: bool,
    backup_intent: bool = False,
) -> bytes | None:
    """ACCESS_DENIED unless the directory lets the user add a file or subdirectory (MS-FSA 2.1.5.1.1).

    Where there are no stored descriptors the kernel decides, when it is asked to make it. Returns the directory's
    stored descriptor, which the new file may inherit from.
    """
    needed = c.FILE_ADD_SUBDIRECTORY if new_directory else c.FILE_ADD_FILE
    if volume.settings.read_only or not context.share_access & needed:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the share is read-only")
    if not volume.has_security:
        return None
    stored = stored_at(volume, context.token, directory, stat)
    rights, wanted = _rights(context.token, stored, stat, backup_intent)
    granted = bool(rights & needed)
    if wanted is not NOT_AUDITED and needed & (wanted.success if granted else wanted.failure):
        tell(context, volume, nt_path(directory), needed, granted)
    if not granted:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    return stored


def limit(volume: "NtVolume", context: "NtContext", rights: int, stat: FileStat, attributes: int) -> int:
    """`rights` without what the share, a read-only volume or the read-only attribute take away."""
    rights &= context.share_access | c.ACCESS_SYSTEM_SECURITY
    if volume.settings.read_only:
        rights &= ~MODIFIES
    if attributes & c.FILE_ATTRIBUTE_READONLY and not is_directory(stat):
        rights &= ~_READONLY_DENIES
    return rights
