"""Making a symbolic link of an open, empty file or directory, and a file of a link: the open goes on with what it is.

The file system can change no file into a link. So a link is made beside it and put in its place, and the open, which
must be the only one, moves over to it: its record, its handle, its number.
"""

import secrets
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.file_state import is_directory
from lamina.ntfsa.naming.lookup import join, split
from lamina.ntfsa.opening.sharing import close_file, open_file
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.changes import Change, ChangeKind
from lamina.vfs_modules.operations import Access, Capability, FileStat, OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.notify.name_changes import NameChange
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

_LINK_HOW: Final = OpenHow(Access.PATH, follow=False)
_FILE_HOW: Final = OpenHow(Access.READ_WRITE, follow=False)


def may_become_link(open_: "NtOpen", stat: FileStat) -> bool:
    """Whether nothing is lost and nobody is left behind when the file of `open_` is replaced."""
    if Capability.SYMLINKS not in open_.volume.capabilities or open_.file_key[2]:
        return False
    record = open_.volume.registry.read(open_.file_key)
    alone = len(record.opens) == 1 and not record.locks and not record.grants and not record.delete_pending
    empty = is_directory(stat) or (stat.size == 0 and stat.nlink == 1) or (stat.mode & 0o170000) == 0o120000
    return alone and empty


def become_link(token: "ImpersonationToken", open_: "NtOpen", target: str) -> None:
    """Put a symbolic link to `target` in the place of the file. Raises OSError, and OBJECT_NAME_NOT_FOUND (moved)."""
    chain, root = open_.volume.chain, open_.volume.root
    change, beside = _begin(open_)
    with change:
        chain.symlink(token, target, root, beside)
        change.unseen(Change(ChangeKind.ADDED, beside))
        _put_in_place(token, open_, change, beside)
    _move_over(token, open_, chain.open(token, root, open_.vfs_path, _LINK_HOW))


def become_file(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Put an empty file in the place of the symbolic link. Raises OSError, SHARING_VIOLATION (others have it open)."""
    volume = open_.volume
    if not may_become_link(open_, volume.chain.fstat(token, open_.handle)):
        raise NtStatusError(NtStatus.SHARING_VIOLATION, "the link is open elsewhere")
    how = OpenHow(Access.WRITE, create=True, exclusive=True, mode=volume.settings.file_mode)
    change, beside = _begin(open_)
    with change:
        made = volume.chain.open(token, volume.root, beside, how)
        change.unseen(Change(ChangeKind.ADDED, beside))
        volume.chain.close(token, made)
        _put_in_place(token, open_, change, beside)
    try:
        handle = volume.chain.open(token, volume.root, open_.vfs_path, _FILE_HOW)
    except PermissionError:
        handle = volume.chain.open(token, volume.root, open_.vfs_path, _LINK_HOW)
    _move_over(token, open_, handle)


def _name_beside(open_: "NtOpen") -> str:
    return join(split(open_.vfs_path)[0], f".lamina-{secrets.token_hex(8)}")


def _begin(open_: "NtOpen") -> tuple["NameChange", str]:
    beside, change = "", None
    while change is None:
        beside = _name_beside(open_)
        change = open_.volume.name_changes.begin(beside, open_.vfs_path)
    return change, beside


def _put_in_place(token: "ImpersonationToken", open_: "NtOpen", change: "NameChange", beside: str) -> None:
    volume, path = open_.volume, open_.vfs_path
    chain, root = volume.chain, volume.root
    try:
        stat = chain.stat(token, root, path, False)
        if (stat.dev, stat.ino) != open_.file_key[:2]:
            raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "the name means another file by now")
        if is_directory(stat):
            chain.rmdir(token, root, path)
            change.removed(path, True)
            chain.rename(token, root, beside, root, path, False)
            change.tell(Change(ChangeKind.ADDED, path))
        else:
            chain.rename(token, root, beside, root, path, True)
        change.unseen(Change(ChangeKind.RENAMED, beside, False, path))
    except BaseException:
        chain.unlink(token, root, beside)
        change.unseen(Change(ChangeKind.REMOVED, beside))
        raise
    volume.indexes.forget(*open_.file_key[:2])


def _move_over(token: "ImpersonationToken", open_: "NtOpen", handle: "VfsHandle") -> None:
    volume = open_.volume
    stat = volume.chain.fstat(token, handle)
    old_key, new_key = open_.file_key, (stat.dev, stat.ino, "")
    entry = volume.registry.read(old_key).find_open(open_.owner)
    assert entry is not None
    volume.remove_open(open_)
    volume.registry.update(new_key, open_file, open_.owner, entry.granted_access, entry.share_access, entry.flags)
    volume.registry.update(old_key, close_file, open_.owner)
    old = open_.handle
    open_.handle = open_.data = handle
    open_.file_key, open_.file_id, open_.is_directory = new_key, stat.ino, False
    volume.add_open(open_)
    volume.chain.close(token, old)
