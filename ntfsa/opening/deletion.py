"""Deletion: whether a file may be marked for it, and taking its name away (MS-FSA 2.1.5.15.3, 2.1.5.5)."""

import errno
import logging
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import state_of
from lamina.ntfsa.grants.grant_breaks import name_changes
from lamina.ntfsa.naming.doomed import Doomed
from lamina.ntfsa.opening.delete import set_delete_on_close, set_delete_pending
from lamina.ntfsa.opening.sharing import closing_deletes
from lamina.ntfsa.record import OPEN_POSIX, FileRecord, Outcome
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.notify.name_changes import NameChange
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})


def set_disposition(context: "NtContext", open_: "NtOpen", flags: int) -> None:
    """Mark the file for deletion at its last close, or take that back (FILE_DISPOSITION_*, MS-FSCC 2.4.12).

    Raises ACCESS_DENIED, CANNOT_DELETE, DIRECTORY_NOT_EMPTY.
    """
    if not open_.granted_access & c.DELETE:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    delete = bool(flags & c.FILE_DISPOSITION_DELETE)
    if delete:
        require_deletable(
            context.token, open_, open_.posix or bool(flags & c.FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE)
        )
        name_changes(open_)
    registry, key = open_.volume.registry, open_.file_key
    if flags & c.FILE_DISPOSITION_ON_CLOSE:
        _set_on_close(open_, delete)
        return
    registry.update(key, set_delete_pending, delete)
    open_.posix_delete = delete and (open_.posix or bool(flags & c.FILE_DISPOSITION_POSIX_SEMANTICS))
    if open_.stream:
        return
    if delete:
        open_.volume.doomed.note(key, Doomed(open_.vfs_path, open_.parent_key))
        tell_watchers(open_)
    else:
        open_.volume.doomed.forget(key)


def _set_on_close(open_: "NtOpen", delete: bool) -> None:
    status = open_.volume.registry.update(open_.file_key, set_delete_on_close, open_.owner, delete).result
    if status is not NtStatus.SUCCESS:
        raise NtStatusError(status)
    open_.delete_on_close = delete


def tell_watchers(open_: "NtOpen") -> None:
    """Whoever waits for changes in a directory that is to be deleted waits in vain (MS-FSA 2.1.5.15.3)."""
    if open_.volume.peers is not None and open_.is_directory:
        open_.volume.peers.directory_goes(open_.file_key)
    if open_.volume.watchers is not None and open_.is_directory:
        for other in open_.volume.opens_of(open_.file_key):
            if other.watcher is not None:
                other.watcher.end(NtStatus.DELETE_PENDING)


def require_deletable(token: "ImpersonationToken", open_: "NtOpen", ignore_readonly: bool = False) -> None:
    """CANNOT_DELETE for a read-only file or the root, DIRECTORY_NOT_EMPTY for a directory with entries."""
    if not open_.vfs_path and not open_.stream:
        raise NtStatusError(NtStatus.CANNOT_DELETE, "the root of a share")
    _, dos = state_of(token, open_)
    if dos.attributes & c.FILE_ATTRIBUTE_READONLY and not ignore_readonly:
        raise NtStatusError(NtStatus.CANNOT_DELETE)
    if open_.is_directory and not _is_empty(token, open_):
        raise NtStatusError(NtStatus.DIRECTORY_NOT_EMPTY)


def _is_empty(token: "ImpersonationToken", open_: "NtOpen") -> bool:
    entries = open_.volume.chain.readdir(token, open_.handle, False)
    return next(iter(entries), None) is None


def deletes_now(open_: "NtOpen") -> bool:
    """Whether the close of `open_` is the one that takes the name away.

    That is the last one, or with POSIX semantics the one that asked for it; opens of the POSIX extensions hold up
    nobody's. Otherwise, if this open has delete-on-close, its name is noted for the last one.
    """
    volume, key = open_.volume, open_.file_key
    record = volume.registry.read(key)
    if open_.delete_on_close:
        volume.doomed.note_first(key, Doomed(open_.vfs_path, open_.parent_key))
    if closing_deletes(record, open_.owner) or (open_.posix and open_.delete_on_close):
        return True
    if not record.delete_pending:
        return False
    if open_.posix_delete:
        return True
    if volume.peers is not None:
        return all(entry.flags & OPEN_POSIX or entry.owner == open_.owner for entry in record.opens)
    return all(other.posix or other is open_ for other in volume.opens_of(key))


def remove_name(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Take the doomed name of the file away. Nobody can open the file while that is done.

    A name that has come to mean another file is left alone, and so is one that is gone. A refusal is logged: nobody
    is left to be told (a CLOSE does not fail).
    """
    volume = open_.volume
    key = (*open_.file_key[:2], "")  # of the file, also where a stream of it closes last
    volume.registry.update(key, _mark)
    change = None
    while change is None:
        doomed = volume.doomed.get(key) or Doomed(open_.vfs_path, open_.parent_key)
        change = volume.name_changes.begin(doomed.path)
    volume.doomed.forget(key)
    with change:
        try:
            if _still_names(token, open_, doomed.path):
                _remove(token, open_, change, doomed)
        except OSError as error:
            if error.errno not in _GONE:
                log.info("share %s: %r cannot be deleted: %s", volume.name, open_.path, error.strerror)


def _mark(record: FileRecord) -> Outcome[NtStatus]:
    return set_delete_pending(record, True)


def _still_names(token: "ImpersonationToken", open_: "NtOpen", path: str) -> bool:
    volume = open_.volume
    stat = volume.chain.stat(token, volume.root, path, not open_.options & c.FILE_OPEN_REPARSE_POINT)
    return (stat.dev, stat.ino) == open_.file_key[:2]


def _remove(token: "ImpersonationToken", open_: "NtOpen", change: "NameChange", doomed: Doomed) -> None:
    volume, path = open_.volume, doomed.path
    if open_.handle.is_directory:
        volume.indexes.forget(*open_.file_key[:2])
        volume.chain.rmdir(token, volume.root, path)
    else:
        volume.chain.unlink(token, volume.root, path)
    # Who asked for it and who closed last must both know of it for the directory's lease to stay.
    by = doomed.parent_key if doomed.parent_key == open_.parent_key else b""
    change.removed(path, open_.handle.is_directory, by)
