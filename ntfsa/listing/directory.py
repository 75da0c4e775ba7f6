"""Directory listings (MS-FSA 2.1.5.6.3 Server Requests Querying a Directory, MS-SMB2 3.3.5.18)."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.file_state import allocation_size, creation_ns, end_of_file, shown_attributes
from lamina.ntfsa.fscc.directory_information import NEEDS_STAT, DirectoryBuffer
from lamina.ntfsa.fscc.posix_information import PosixDirectoryBuffer
from lamina.ntfsa.listing.enumeration import Enumeration, Listed, look_at
from lamina.ntfsa.listing.pause import LISTED_AT_ONCE, pause
from lamina.ntfsa.listing.quick_entries import quickly
from lamina.ntfsa.listing.rich_entries import enriching
from lamina.ntfsa.metadata.extended_attributes import ea_size_at
from lamina.ntfsa.metadata.reparse import tag_of
from lamina.ntfsa.naming.lookup import join
from lamina.ntfsa.naming.names import to_posix
from lamina.ntfsa.naming.short_name_query import short_names_in
from lamina.ntfsa.posix.posix_directory import fill_posix
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.times.filetime import to_filetime
from lamina.ntfsa.times.modification import shown_stat
from lamina.ntfsa.times.sticky_times import restore_after_read
from lamina.vfs_modules.operations import DosAttributes

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

_RESTARTS: Final = c.SMB2_RESTART_SCANS | c.SMB2_REOPEN
_REPARSE_POINT: Final = c.FILE_ATTRIBUTE_REPARSE_POINT
_NO_DOS: Final = DosAttributes(0, None)
_ILLEGAL_IN_PATTERN: Final = frozenset("\\/")


def query_directory(  # the fields of one request (MS-SMB2 2.2.33)
    context: "NtContext", open_: "NtOpen", info_class: int, pattern: str, flags: int, file_index: int, max_length: int
) -> bytes:
    """The next entries of a directory, as many as `max_length` bytes hold.

    The pattern is that of the first query, until the scan is restarted with another. `file_index` means nothing here,
    as on NTFS. Raises NO_SUCH_FILE (nothing at all), NO_MORE_FILES, INVALID_INFO_CLASS, INFO_LENGTH_MISMATCH (no
    room for one entry), INVALID_PARAMETER, OBJECT_NAME_INVALID, ACCESS_DENIED.
    """
    posix = info_class == c.FILE_POSIX_INFORMATION and open_.posix
    buffer = PosixDirectoryBuffer(max_length) if posix else DirectoryBuffer(info_class, max_length)
    if not open_.is_directory:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "not a directory")
    if not open_.granted_access & c.FILE_LIST_DIRECTORY:
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    try:
        enumeration = _enumeration(context, open_, pattern, flags, posix or info_class in NEEDS_STAT)
        with enumeration:
            if isinstance(buffer, PosixDirectoryBuffer):
                fill_posix(context.token, open_, enumeration, buffer, bool(flags & c.SMB2_RETURN_SINGLE_ENTRY))
            else:
                _fill(context, open_, enumeration, buffer, flags, info_class)
        if open_.sticky is not None:
            restore_after_read(context.token, open_)
    except OSError as error:
        raise nt_error(error) from error
    if not buffer.count:
        _nothing(enumeration)
    enumeration.begun = True
    return buffer.finish()


def _enumeration(context: "NtContext", open_: "NtOpen", pattern: str, flags: int, with_attributes: bool) -> Enumeration:
    current = open_.enumeration
    if current is not None and not flags & _RESTARTS:
        return current
    if not pattern and current is not None:
        pattern = current.pattern
    if not pattern or not _ILLEGAL_IN_PATTERN.isdisjoint(pattern):
        raise NtStatusError(NtStatus.OBJECT_NAME_INVALID, "no pattern, or one with a separator")
    if current is not None:
        current.close()
    open_.enumeration = Enumeration(context.token, open_, pattern, with_attributes)
    return open_.enumeration


def _nothing(enumeration: Enumeration) -> None:
    begun, enumeration.begun = enumeration.begun, True
    raise NtStatusError(NtStatus.NO_MORE_FILES if begun else NtStatus.NO_SUCH_FILE)


def _fill(  # one loop, and everything it needs
    context: "NtContext",
    open_: "NtOpen",
    enumeration: Enumeration,
    buffer: DirectoryBuffer,
    flags: int,
    info_class: int,
) -> None:
    single = flags & c.SMB2_RETURN_SINGLE_ENTRY
    with_attributes = info_class in NEEDS_STAT
    append = _appending(context, open_, buffer, info_class)
    while (entry := enumeration.next()) is not None:
        if with_attributes and entry[1] is None:
            found = look_at(context.token, open_, _stored(open_, entry[0]), entry[0])
            if found is None:
                continue
            entry = found
        if not append(entry):
            enumeration.hold(entry)
            if not buffer.count:
                raise NtStatusError(NtStatus.INFO_LENGTH_MISMATCH, "no room for one entry")
            return
        if single:
            return
        if not buffer.count % LISTED_AT_ONCE:
            pause(open_)


def _appending(
    context: "NtContext", open_: "NtOpen", buffer: DirectoryBuffer, info_class: int
) -> Callable[[Listed], bool]:
    """What puts an entry into `buffer`, with all that its class tells; False where it has no room."""
    if info_class not in NEEDS_STAT:
        return lambda entry: buffer.append(entry[0])
    append = quickly(open_.volume, buffer, partial(_append, context.token, open_, buffer))
    enrich = enriching(context, open_, buffer, info_class)
    short_of = short_names_in(context.token, open_) if buffer.has_short_names else None
    if enrich is None and short_of is None:
        return append

    def append_more(entry: Listed) -> bool:
        added = append(entry)
        if added and short_of is not None:
            buffer.add_short_name(short_of(to_posix(entry[0])) or "")
        if added and enrich is not None:
            enrich(entry)
        return added

    return append_more


def _stored(open_: "NtOpen", name: str) -> str:
    return name if open_.posix else to_posix(name)


def _append(token: "ImpersonationToken", open_: "NtOpen", buffer: DirectoryBuffer, entry: Listed) -> bool:
    name, stat, dos, may_have_eas = entry
    volume, directory = open_.volume, open_.vfs_path
    assert stat is not None
    stat = shown_stat(volume, stat)
    if dos is None:
        dos = _NO_DOS
    stored = dos.attributes
    created = dos.creation_ns
    if created is None:
        created = creation_ns(stat, dos)
    changed = dos.change_ns
    if changed is None:
        changed = stat.ctime_ns
    attributes = shown_attributes(stat, stored, volume.settings.hides(name))
    return buffer.append(
        name,
        (to_filetime(created), to_filetime(stat.atime_ns), to_filetime(stat.mtime_ns), to_filetime(changed)),
        end_of_file(stat),
        allocation_size(stat, stored),
        attributes,
        ea_size_at(volume, token, join(directory, _stored(open_, name))) if may_have_eas else 0,
        stat.ino,
        tag_of(volume, token, join(directory, _stored(open_, name)), stat) if attributes & _REPARSE_POINT else 0,
    )
