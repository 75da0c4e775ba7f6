"""The second phase of an open, for a file that exists (MS-FSA 2.1.5.1.2 Open of an Existing File)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import hides, is_directory, network_open
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.grants.admission import Opening
from lamina.ntfsa.grants.grant_breaks import data_changes, open_beside_grants
from lamina.ntfsa.metadata.extended_attributes import needs_knowledge
from lamina.ntfsa.metadata.reparse import data_of, is_link, stop
from lamina.ntfsa.naming.lookup import stat_or_none
from lamina.ntfsa.naming.names import DATA_STREAM
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_check import Request
from lamina.ntfsa.opening.create_finish import apply_extended_attributes, ignore_unsupported, reserve
from lamina.ntfsa.opening.sharing import close_file, open_file, sharing_conflict
from lamina.ntfsa.record import OPEN_DELETE_ON_CLOSE, OPEN_POSIX, FileKey
from lamina.ntfsa.security.access import limit, rights_by_directory, rights_to
from lamina.ntfsa.security.access_check import grant
from lamina.ntfsa.security.audit import NOT_AUDITED, audited_grant
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_deletion import remove_streams
from lamina.ntfsa.streams.stream_opens import detach, require_streams_share_delete
from lamina.ntfsa.times.modification import settle_write_time, shown_stat
from lamina.vfs_modules.operations import DosAttributes, FileStat
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.vfs_modules.handle import VfsHandle

_Admitted = tuple[NtOpen, int, NetworkOpenInformation, int]
_Admit = Callable[[Request, "VfsHandle", str, str], _Admitted | None]
_SUCCESS: Final = NtStatus.SUCCESS
_PENDING: Final = NtStatus.PENDING
_OPLOCK_BREAK_IN_PROGRESS: Final = NtStatus.OPLOCK_BREAK_IN_PROGRESS
MODE_OPTIONS: Final = (
    c.FILE_WRITE_THROUGH
    | c.FILE_SEQUENTIAL_ONLY
    | c.FILE_NO_INTERMEDIATE_BUFFERING
    | c.FILE_SYNCHRONOUS_IO_ALERT
    | c.FILE_SYNCHRONOUS_IO_NONALERT
    | c.FILE_DELETE_ON_CLOSE
)
"""What of the create options stays with the open (MS-FSCC 2.4.31 FileModeInformation)."""
_BY_DIRECTORY: Final = c.DELETE | c.FILE_READ_ATTRIBUTES
_OVERWRITTEN: Final = n.FILE_NOTIFY_CHANGE_ATTRIBUTES | n.FILE_NOTIFY_CHANGE_SIZE | n.FILE_NOTIFY_CHANGE_LAST_WRITE
_HIDDEN_OR_SYSTEM: Final = c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_SYSTEM


def admit_existing(request: Request, handle: "VfsHandle", vfs_path: str, path: str) -> _Admitted | None:
    """Let the open in, and overwrite if that is asked; None where the name has come to mean something else meanwhile.

    The handle belongs to the open afterwards, and is closed where none comes of it.
    """
    return admitted_or_closed(_admit, request, handle, vfs_path, path)


def admitted_or_closed(
    admit: _Admit, request: Request, handle: "VfsHandle", vfs_path: str, path: str
) -> _Admitted | None:
    """What `admit` comes to; the handle is closed where no open comes of it."""
    try:
        admitted = admit(request, handle, vfs_path, path)
    except BaseException:
        request.volume.chain.close(request.token, handle)
        raise
    if admitted is None:
        request.volume.chain.close(request.token, handle)
    return admitted


def _admit(request: Request, handle: "VfsHandle", vfs_path: str, path: str) -> _Admitted | None:
    volume, token = request.volume, request.token
    open_: NtOpen | None = None
    while open_ is None:
        stat = volume.chain.fstat(token, handle)
        key = (stat.dev, stat.ino, "")
        if not stat.nlink:
            return None
        if request.lease:
            volume.leases.check(request.lease, key)
        _check_type(request, stat)
        if volume.registry.read(key).delete_pending:
            raise NtStatusError(NtStatus.DELETE_PENDING)
        dos = volume.chain.get_dos_attributes(token, handle, stat)
        if dos.attributes & c.FILE_ATTRIBUTE_REPARSE_POINT or request.options & c.FILE_NO_EA_KNOWLEDGE:
            _require_knowledge(request, handle, vfs_path, stat, dos)
        maximal = maximal_rights(request, handle, vfs_path, stat, dos.attributes)
        granted = grant_request(request, maximal, path)
        check_attributes(request, stat, dos.attributes, granted, maximal)
        if granted & c.DELETE and volume.has_streams:
            require_streams_share_delete(volume.registry, key)
        open_ = register(request, handle, path, vfs_path, key, granted)
        # Whoever gave up an oplock may have changed anything: what still has its name is looked at anew.
        if open_ is None and not still_names(request, vfs_path, key):
            return None
    if volume.peers is not None and not volume.chain.fstat(token, handle).nlink:
        # Another worker has taken the last name away since.
        unregister(open_)
        return None
    if not request.overwrites:
        open_.unarchived = not dos.attributes & c.FILE_ATTRIBUTE_ARCHIVE
        return open_, c.FILE_OPENED, network_open(shown_stat(volume, stat), dos, hides(open_)), maximal
    return _overwritten(request, open_, dos, maximal)


def _overwritten(request: Request, open_: NtOpen, dos: DosAttributes, maximal: int) -> _Admitted:
    try:
        return _overwrite(request, open_, dos, maximal)
    except BaseException:
        unregister(open_)
        raise


def _require_knowledge(
    request: Request, handle: "VfsHandle", vfs_path: str, stat: FileStat, dos: DosAttributes
) -> None:
    """Refuse who does not know of attributes that must be known; let the client follow a reparse point."""
    ignorant = request.options & c.FILE_NO_EA_KNOWLEDGE
    if ignorant and needs_knowledge(request.volume, request.token, handle):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the file has attributes that its user must know")
    require_no_link(request, handle, vfs_path, stat, dos)


def require_no_link(request: Request, handle: "VfsHandle", vfs_path: str, stat: FileStat, dos: DosAttributes) -> None:
    """Let the client follow a reparse point that it has not asked to open itself."""
    if dos.attributes & c.FILE_ATTRIBUTE_REPARSE_POINT and not request.options & c.FILE_OPEN_REPARSE_POINT:
        raise stop(data_of(request.volume, request.token, handle, vfs_path, stat), ())


def still_names(request: Request, vfs_path: str, key: FileKey) -> bool:
    """Whether a path leads to the file of this key."""
    follow = not request.options & c.FILE_OPEN_REPARSE_POINT
    stat = stat_or_none(request.volume, request.token, vfs_path, follow)
    return stat is not None and (stat.dev, stat.ino) == key[:2]


def _stayed(request: Request, vfs_path: str, key: FileKey) -> bool:
    """Whether a file still has its name though something was renamed since it was opened.

    Renames let those know that are entered as opens: between this and being entered nothing may wait.
    """
    while request.moves != request.volume.moves:
        request.moves = request.volume.moves
        if not still_names(request, vfs_path, key):
            return False
    return True


def _check_type(request: Request, stat: FileStat) -> None:
    if request.disposition == c.FILE_CREATE:
        raise NtStatusError(NtStatus.OBJECT_NAME_COLLISION)
    if not is_directory(stat):
        if request.wants_directory and not is_link(stat):
            invalid = request.path.trailing_separator
            raise NtStatusError(NtStatus.OBJECT_NAME_INVALID if invalid else NtStatus.NOT_A_DIRECTORY)
        return
    if request.options & c.FILE_NON_DIRECTORY_FILE or request.path.stream_type == DATA_STREAM:
        raise NtStatusError(NtStatus.FILE_IS_A_DIRECTORY)
    if request.overwrites:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a directory is not overwritten")


def maximal_rights(request: Request, handle: "VfsHandle", vfs_path: str, stat: FileStat, attributes: int) -> int:
    """All the rights that the open could be granted."""
    volume, token = request.volume, request.token
    rights, request.audited = rights_to(volume, token, handle, stat, request.backup_intent)
    whole = request.desired & c.MAXIMUM_ALLOWED or request.parameters.want_maximal_access
    if (_BY_DIRECTORY if whole else request.desired & _BY_DIRECTORY) & ~rights:
        rights |= rights_by_directory(volume, token, vfs_path, stat)
    if request.parameters.want_maximal_access:
        request.maximal = limit(volume, request.context, rights, stat, 0)
    return limit(volume, request.context, rights, stat, attributes)


def grant_request(request: Request, maximal: int, path: str) -> int:
    """The access that is granted, of `maximal_rights`; told of where the file asks for it. Raises ACCESS_DENIED."""
    if request.audited is NOT_AUDITED:
        return grant(maximal, request.desired)
    return audited_grant(request.context, request.volume, path, maximal, request.desired, request.audited)


def check_attributes(request: Request, stat: FileStat, attributes: int, granted: int, maximal: int) -> None:
    """Whether the file's attributes let it be deleted or overwritten: CANNOT_DELETE, ACCESS_DENIED."""
    if request.options & c.FILE_DELETE_ON_CLOSE:
        if attributes & c.FILE_ATTRIBUTE_READONLY and not request.posix:
            raise NtStatusError(NtStatus.CANNOT_DELETE)
        if not granted & c.DELETE:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, "delete on close without DELETE access")
    if not request.overwrites:
        return
    if attributes & _HIDDEN_OR_SYSTEM & ~request.parameters.file_attributes:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "a hidden or system file is overwritten only by one")
    brought = c.FILE_WRITE_EA if request.parameters.extended_attributes else 0
    if (request.implied | brought) & ~maximal:
        raise NtStatusError(NtStatus.ACCESS_DENIED)


def register(
    request: Request, handle: "VfsHandle", path: str, vfs_path: str, key: FileKey, granted: int
) -> NtOpen | None:
    """Enter the open in the file's record and the volume; None where it is to be looked at again.

    That is after waiting for an oplock's break, and where the file has been renamed since it was opened. Raises
    SHARING_VIOLATION or DELETE_PENDING.
    """
    volume = request.volume
    registry = volume.registry
    if request.moves != volume.moves and not _stayed(request, vfs_path, key):
        return None
    share = request.parameters.share_access
    owner = registry.new_owner()
    flags = OPEN_DELETE_ON_CLOSE if request.options & c.FILE_DELETE_ON_CLOSE else 0
    if request.posix:
        flags |= OPEN_POSIX
    if request.implied:
        record = registry.read(key)
        if not record.grants and sharing_conflict(record, granted | request.implied, share):
            raise NtStatusError(NtStatus.SHARING_VIOLATION)
    status = registry.update(key, open_file, owner, granted, share, flags).result
    if status is not _SUCCESS:
        if status is _OPLOCK_BREAK_IN_PROGRESS:
            status = open_beside_grants(
                registry, key, Opening(owner, granted, share, flags, request.implied, request.lease)
            )
        if status is _PENDING:
            return None
        if status is not _SUCCESS:
            raise NtStatusError(status)
    open_ = NtOpen(volume, handle, path, vfs_path, key, owner)
    open_.granted_access = granted
    open_.share_access = share
    open_.options = request.options
    open_.mode = request.options & MODE_OPTIONS
    open_.delete_on_close = flags & OPEN_DELETE_ON_CLOSE != 0
    open_.posix = request.posix
    lease = request.parameters.lease
    if lease is not None and lease.parent_key is not None:
        open_.parent_key = lease.parent_key
    volume.add_open(open_)
    return open_


def register_after_breaks(
    request: Request, handle: "VfsHandle", path: str, vfs_path: str, key: FileKey, granted: int
) -> NtOpen:
    """`register`, however often it must wait: for a new file, which somebody may have opened already."""
    open_: NtOpen | None = None
    while open_ is None:
        open_ = register(request, handle, path, vfs_path, key, granted)
    return open_


def unregister(open_: NtOpen) -> None:
    """Take back what `register` did, for an open that fails after it."""
    open_.closed = True
    open_.volume.remove_open(open_)
    open_.volume.registry.update(open_.file_key, close_file, open_.owner)
    if open_.stream:
        detach(SERVER_TOKEN, open_)


def _overwrite(request: Request, open_: NtOpen, dos: DosAttributes, maximal: int) -> _Admitted:
    """Empty the file and give it the requested attributes (MS-FSA 2.1.5.1.2, the overwriting dispositions)."""
    volume, token, parameters = request.volume, request.token, request.parameters
    chain, handle = volume.chain, open_.handle
    if parameters.extended_attributes is not None:
        apply_extended_attributes(request, handle)
    if volume.has_streams:
        remove_streams(token, open_)
    chain.ftruncate(token, handle, 0)
    data_changes(open_)
    settle_write_time(token, open_)
    attributes = parameters.file_attributes & c.SETTABLE_FILE_ATTRIBUTES | c.FILE_ATTRIBUTE_ARCHIVE
    if attributes != dos.attributes:
        with ignore_unsupported():
            chain.set_dos_attributes(token, handle, DosAttributes(attributes, dos.creation_ns))
    reserve(request, open_)
    stat = chain.fstat(token, handle)
    dos = chain.get_dos_attributes(token, handle, stat)
    if volume.watchers is not None:
        volume.watchers.modified(open_.vfs_path, _OVERWRITTEN, open_.parent_key)
    action = c.FILE_SUPERSEDED if request.disposition == c.FILE_SUPERSEDE else c.FILE_OVERWRITTEN
    return open_, action, network_open(stat, dos, hides(open_), open_.reserved), maximal
