"""Renaming (MS-FSA 2.1.5.15.11 FileRenameInformation, MS-FSCC 2.4.43 FileRenameInformationEx)."""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import is_directory
from lamina.ntfsa.fscc.notify_information import FILE_NOTIFY_CHANGE_ATTRIBUTES, FILE_NOTIFY_CHANGE_CREATION
from lamina.ntfsa.grants.caching import SHARING_CONFLICT
from lamina.ntfsa.grants.grant_breaks import name_changes, wait_for_break
from lamina.ntfsa.naming.lookup import Resolved, join, stat_or_none
from lamina.ntfsa.naming.moving import move_opens
from lamina.ntfsa.naming.names import NtPath, to_posix
from lamina.ntfsa.opening.sharing import sharing_conflict
from lamina.ntfsa.posix.posix_names import parse_as, resolve_as
from lamina.ntfsa.security.access import may_delete, require_child_creation
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_opens import has_open_streams
from lamina.ntfsa.streams.stream_rename import rename_stream
from lamina.ntfsa.times.archive import mark_archive
from lamina.vfs_modules.changes import Change, ChangeKind
from lamina.vfs_modules.extensions import ClientTrait
from lamina.vfs_modules.operations import Access, FileStat, OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.fscc.set_information import RenameInformation
    from lamina.ntfsa.notify.name_changes import NameChange
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.record import FileKey, FileRecord

_SHARE_BUT_DELETE: Final = c.FILE_SHARE_READ | c.FILE_SHARE_WRITE
_PATH_HOW: Final = OpenHow(Access.PATH)


def rename(context: "NtContext", open_: "NtOpen", asked: "RenameInformation") -> None:
    """Give the file of an open another name.

    Raises ACCESS_DENIED, OBJECT_NAME_COLLISION, OBJECT_PATH_NOT_FOUND, OBJECT_NAME_INVALID, SHARING_VIOLATION.
    """
    while not _rename(context, open_, asked):
        pass


def _rename(context: "NtContext", open_: "NtOpen", asked: "RenameInformation") -> bool:
    """False where others were changing one of the names, and all must be looked at again."""
    if not open_.granted_access & c.DELETE:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    if open_.stream or (asked.name.startswith(":") and not open_.posix):
        rename_stream(context, open_, asked)
        return True
    if not open_.vfs_path:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "the root of a share")
    if open_.volume.has_streams and has_open_streams(open_.volume.registry, open_.file_key):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "a stream of the file is open")
    where = new_place(context, open_, asked.name)
    target = join(where.parent, new_name(open_, asked.name)) if where.found else where.vfs_path
    if target == open_.vfs_path:
        return True
    name_changes(open_)
    posix = _is_posix(open_, asked) or ClientTrait.OPEN_TREES_MOVE in context.client.traits
    if open_.is_directory and not posix and _has_open_children(open_):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "something beneath the directory is open")
    return _to(context, open_, asked, where, target)


def _to(context: "NtContext", open_: "NtOpen", asked: "RenameInformation", where: Resolved, target: str) -> bool:
    require_open_parent(open_, where)
    require_child_creation(open_.volume, context, where.parent, where.parent_stat, open_.is_directory)
    victim = None
    if where.found and where.vfs_path != open_.vfs_path:
        victim = _check_target(context, open_, where, asked)
    # Another case of the same name goes over the file itself; a replaced one may be in another case.
    first = target if victim is None else where.vfs_path
    change = open_.volume.name_changes.begin(open_.vfs_path, first, target, tree=open_.is_directory)
    if change is None:
        return False
    with change:
        if victim is not None and not still_names(context, open_, first, victim):
            return False
        _require_source(context, open_)
        _move(context, open_, change, (first, target), victim)
    if not open_.is_directory:
        # Windows tells that of files, not of directories, and late (smb2.notify.mask-change and rec).
        open_.told_at_close |= FILE_NOTIFY_CHANGE_ATTRIBUTES | FILE_NOTIFY_CHANGE_CREATION
        # A backup has not seen the file under this name.
        mark_archive(context.token, open_)
    return True


def _is_posix(open_: "NtOpen", asked: "RenameInformation") -> bool:
    return open_.posix or bool(asked.flags & c.FILE_RENAME_POSIX_SEMANTICS)


def new_place(context: "NtContext", open_: "NtOpen", name: str) -> Resolved:
    """Where a new name leads. A name of a stream is NOT_SUPPORTED; the root is no name."""
    path = _parsed(open_, name)
    if path.stream or path.stream_type:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "streams cannot be renamed here")
    if not path.components:
        raise NtStatusError(NtStatus.OBJECT_NAME_INVALID)
    return resolve_as(open_.posix, open_.volume, context.token, path.components)


def new_name(open_: "NtOpen", name: str) -> str:
    """The last component of a new name, as it is kept on disk."""
    return to_posix(_parsed(open_, name).components[-1])


def _parsed(open_: "NtOpen", name: str) -> NtPath:
    return parse_as(open_.posix, name.removeprefix("/" if open_.posix else "\\"))


def _require_source(context: "NtContext", open_: "NtOpen") -> None:
    # The name may have come to mean another file behind our back: that one is not ours to move.
    follow = not open_.options & c.FILE_OPEN_REPARSE_POINT
    stat = stat_or_none(open_.volume, context.token, open_.vfs_path, follow)
    if stat is None or (stat.dev, stat.ino) != open_.file_key[:2]:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND)


def _has_open_children(open_: "NtOpen") -> bool:
    # Who keeps a closed file open only to cache it closes it when asked.
    for key in _open_beneath(open_):
        name_changes(open_, key)
    return bool(_open_beneath(open_))


def _open_beneath(open_: "NtOpen") -> "set[FileKey]":
    volume = open_.volume
    found = {child.file_key for child in volume.opens_beneath(open_.vfs_path)}
    return found if volume.peers is None else found | volume.peers.opens_beneath(open_.vfs_path)


def require_open_parent(open_: "NtOpen", where: Resolved) -> None:
    """SHARING_VIOLATION where the target's directory could not be opened to add a file, sharing read and write."""
    stat = where.parent_stat
    registry, key = open_.volume.registry, (stat.dev, stat.ino, "")
    if _conflicts(registry.read(key)):
        wait_for_break(open_, key, SHARING_CONFLICT)
        if _conflicts(registry.read(key)):
            raise NtStatusError(NtStatus.SHARING_VIOLATION)


def _conflicts(record: "FileRecord") -> bool:
    return bool(record.opens) and sharing_conflict(record, c.FILE_ADD_FILE, _SHARE_BUT_DELETE)


def _check_target(
    context: "NtContext", open_: "NtOpen", where: Resolved, asked: "RenameInformation"
) -> FileStat | None:
    stat = stat_or_none(open_.volume, context.token, where.vfs_path, follow=not open_.posix)
    if stat is not None:
        check_replaceable(context, open_, where.vfs_path, stat, asked)
    return stat


def still_names(context: "NtContext", open_: "NtOpen", vfs_path: str, checked: FileStat) -> bool:
    """Whether a name still means the file that was checked, before something waited."""
    stat = stat_or_none(open_.volume, context.token, vfs_path, follow=not open_.posix)
    return stat is not None and (stat.dev, stat.ino) == (checked.dev, checked.ino)


def _is_same_file(context: "NtContext", open_: "NtOpen", vfs_path: str) -> bool:
    # A symbolic link to the file is not the file, and may be replaced by it.
    stat = stat_or_none(open_.volume, context.token, vfs_path, follow=False)
    return stat is not None and (stat.dev, stat.ino) == open_.file_key[:2]


def check_replaceable(
    context: "NtContext", open_: "NtOpen", vfs_path: str, stat: FileStat, asked: "RenameInformation"
) -> None:
    """Whether an existing target may go: OBJECT_NAME_COLLISION or ACCESS_DENIED."""
    volume = open_.volume
    if not asked.replace:
        raise NtStatusError(NtStatus.OBJECT_NAME_COLLISION)
    if is_directory(stat) or open_.is_directory:
        if not open_.posix:
            raise NtStatusError(NtStatus.ACCESS_DENIED, "directories are not replaced")
        _require_same_kind(open_, stat)
    key = (stat.dev, stat.ino, "")
    if key != open_.file_key and not open_.posix:
        # Whoever has it open from POSIX keeps what it was, and is not asked to close it.
        name_changes(open_, key)
    record = volume.registry.read(key)
    in_use = record.delete_pending or (bool(record.opens) and not _is_posix(open_, asked))
    if in_use and (stat.dev, stat.ino) != open_.file_key[:2]:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the target is open")
    ignores_readonly = open_.posix or asked.flags & c.FILE_RENAME_IGNORE_READONLY_ATTRIBUTE
    if not ignores_readonly and _is_readonly(context, open_, vfs_path, stat):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the target is read-only")
    if not may_delete(volume, context, vfs_path, stat):
        raise NtStatusError(NtStatus.ACCESS_DENIED)


def _require_same_kind(open_: "NtOpen", stat: FileStat) -> None:
    # As rename(2) has it, which also sees to it that a directory that is replaced is empty.
    if open_.is_directory and not is_directory(stat):
        raise NtStatusError(NtStatus.NOT_A_DIRECTORY)
    if is_directory(stat) and not open_.is_directory:
        raise NtStatusError(NtStatus.FILE_IS_A_DIRECTORY)


def _is_readonly(context: "NtContext", open_: "NtOpen", vfs_path: str, stat: FileStat) -> bool:
    volume, token = open_.volume, context.token
    handle = volume.chain.open(token, volume.root, vfs_path, _PATH_HOW)
    try:
        return bool(volume.chain.get_dos_attributes(token, handle, stat).attributes & c.FILE_ATTRIBUTE_READONLY)
    finally:
        volume.chain.close(token, handle)


def _move(
    context: "NtContext", open_: "NtOpen", change: "NameChange", names: tuple[str, str], victim: FileStat | None
) -> None:
    chain, token, root, source = open_.volume.chain, context.token, open_.volume.root, open_.vfs_path
    # The replaced file has its own case of the name: it is overwritten under that, and the result gets the new one.
    first, target = names
    if victim is not None and _is_same_file(context, open_, first):
        # Between two names of one file rename(2) does nothing: the old name only has to go.
        chain.unlink(token, root, source)
        change.removed(source, False, open_.parent_key)
    else:
        chain.rename(token, root, source, root, first, victim is not None)
        if victim is not None:
            change.tell(Change(ChangeKind.REMOVED, first), open_.parent_key)
        change.renamed(source, first, open_.is_directory, open_.parent_key)
    _move_opens(open_, source, first)
    if first != target:
        chain.rename(token, root, first, root, target, False)
        change.renamed(first, target, open_.is_directory, open_.parent_key)
        _move_opens(open_, first, target)


def _move_opens(open_: "NtOpen", source: str, target: str) -> None:
    """Let every open of the name, and of what is beneath it, know its new path."""
    volume = open_.volume
    move_opens(volume, open_.file_key, (source, target), open_.is_directory)
    if volume.peers is not None:
        volume.peers.moved(open_.file_key, source, target, open_.is_directory)
