"""Setting information about an open file (MS-FSA 2.1.5.15, MS-SMB2 3.3.5.21.1)."""

from collections.abc import Callable
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.borders import translated
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.extensions import module_set
from lamina.ntfsa.file_state import change_ns, end_of_file
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.fscc import set_information as si
from lamina.ntfsa.fscc.extended_attributes import parse_full_ea
from lamina.ntfsa.grants.grant_breaks import data_changes
from lamina.ntfsa.metadata.extended_attributes import set_extended_attributes
from lamina.ntfsa.metadata.link import link
from lamina.ntfsa.metadata.rename import rename
from lamina.ntfsa.metadata.short_name import set_short_name
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_finish import ignore_unsupported
from lamina.ntfsa.opening.deletion import set_disposition
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_changes import tell_data_changed
from lamina.ntfsa.times.archive import mark_archive, note_attributes
from lamina.ntfsa.times.filetime import from_filetime
from lamina.ntfsa.times.modification import settle_write_time
from lamina.ntfsa.times.sticky_times import FREEZE, StickyTimes, restore_after_change, stuck
from lamina.vfs_modules.extensions import ClientTrait, InfoType
from lamina.vfs_modules.operations import DosAttributes, FileStat, Times

_NO_TIMES: Final = Times()
_NON_MODE: Final = ~(
    c.FILE_WRITE_THROUGH
    | c.FILE_SEQUENTIAL_ONLY
    | c.FILE_NO_INTERMEDIATE_BUFFERING
    | c.FILE_SYNCHRONOUS_IO_ALERT
    | c.FILE_SYNCHRONOUS_IO_NONALERT
    | c.FILE_DELETE_ON_CLOSE
)
_KEPT_MODE: Final = (
    c.FILE_NO_INTERMEDIATE_BUFFERING
    | c.FILE_SYNCHRONOUS_IO_ALERT
    | c.FILE_SYNCHRONOUS_IO_NONALERT
    | c.FILE_DELETE_ON_CLOSE
)


def _require(open_: NtOpen, access: int) -> None:
    if access & ~open_.granted_access:
        raise NtStatusError(NtStatus.ACCESS_DENIED)


def _require_file(open_: NtOpen) -> None:
    if open_.is_directory:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "a directory has no size to set")


def _basic(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    """MS-FSA 2.1.5.15.2 FileBasicInformation."""
    _require(open_, c.FILE_WRITE_ATTRIBUTES)
    basic = si.parse_basic(data)
    attributes = basic.file_attributes
    wrong = c.FILE_ATTRIBUTE_TEMPORARY if open_.is_directory else c.FILE_ATTRIBUTE_DIRECTORY
    if attributes & wrong:
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "an attribute that this kind of file cannot have")
    settle_write_time(context.token, open_)
    stat = open_.volume.chain.fstat(context.token, open_.handle)
    if attributes:
        _set_attributes(context, open_, stat, attributes)
    _set_times(context, open_, stat, basic)
    _tell_watchers(open_, _changed_by(basic))


def _changed_by(basic: si.BasicInformation) -> int:
    """What FileBasicInformation changes, as FILE_NOTIFY_CHANGE_*; nobody watches for the change time."""
    changed = n.FILE_NOTIFY_CHANGE_ATTRIBUTES if basic.file_attributes else 0
    if basic.last_access_time > 0:
        changed |= n.FILE_NOTIFY_CHANGE_LAST_ACCESS
    if basic.last_write_time > 0:
        changed |= n.FILE_NOTIFY_CHANGE_LAST_WRITE
    if basic.creation_time > 0:
        changed |= n.FILE_NOTIFY_CHANGE_CREATION
    return changed


def _tell_watchers(open_: NtOpen, changed: int) -> None:
    watchers = open_.volume.watchers
    if watchers is not None and changed:
        watchers.modified(open_.vfs_path, changed, open_.parent_key)


def _set_attributes(context: NtContext, open_: NtOpen, stat: FileStat, attributes: int) -> None:
    chain, token, handle = open_.volume.chain, context.token, open_.handle
    dos = chain.get_dos_attributes(token, handle, stat)
    wanted = attributes & c.SETTABLE_FILE_ATTRIBUTES | dos.attributes & ~c.SETTABLE_FILE_ATTRIBUTES
    if wanted != dos.attributes:
        with ignore_unsupported():
            chain.set_dos_attributes(token, handle, DosAttributes(wanted, None))
        note_attributes(open_, wanted)


def _set_times(context: NtContext, open_: NtOpen, stat: FileStat, basic: si.BasicInformation) -> None:
    chain, token, handle = open_.volume.chain, context.token, open_.handle
    _, access, write, change, _ = basic
    if access or write or change:
        changed = change_ns(stat, chain.get_dos_attributes(token, handle, stat)) if change == FREEZE else None
        now = StickyTimes(stat.atime_ns, stat.mtime_ns, changed)
        open_.sticky = stuck(open_.sticky, StickyTimes(access, write, change), now)
    times = Times(_explicit(access), _explicit(write), _explicit(change), _explicit(basic.creation_time))
    if times.change_ns is None and open_.sticky is not None and (times != _NO_TIMES or basic.file_attributes):
        times = times._replace(change_ns=open_.sticky.change_ns)
    if times != _NO_TIMES:
        chain.set_times(token, handle, times)
        settle_write_time(token, open_)


def _explicit(filetime: int) -> int | None:
    return from_filetime(filetime) if filetime > 0 else None


def _end_of_file(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    """MS-FSA 2.1.5.15.4 FileEndOfFileInformation."""
    _require(open_, c.FILE_WRITE_DATA)
    size = si.parse_size(data)
    _require_file(open_)
    _truncate(context, open_, size)


def _truncate(context: NtContext, open_: NtOpen, size: int) -> None:
    data_changes(open_)
    open_.chain.ftruncate(context.token, open_.data, size)
    if open_.stream and not size and ClientTrait.EMPTY_STREAMS_VANISH in context.client.traits:
        open_.volume.emptied.add(open_.owner)
    # Whoever began to cache while that was parked has read what was there before.
    data_changes(open_)
    if open_.unarchived:
        mark_archive(context.token, open_)
    restore_after_change(context.token, open_)
    settle_write_time(context.token, open_)
    tell_data_changed(open_, n.WRITTEN | n.FILE_NOTIFY_CHANGE_ATTRIBUTES)


def _allocation(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    """MS-FSA 2.1.5.15.1 FileAllocationInformation: less than the size cuts the file, more reserves space."""
    _require(open_, c.FILE_WRITE_DATA)
    size = si.parse_size(data)
    _require_file(open_)
    data_changes(open_)
    current = end_of_file(open_.chain.fstat(context.token, open_.data))
    before, open_.reserved = open_.reserved, size
    if size < max(current, before):
        _truncate(context, open_, min(size, current))
    if size > current:
        with ignore_unsupported():
            open_.chain.fallocate(context.token, open_.data, 0, size)
        restore_after_change(context.token, open_)
    settle_write_time(context.token, open_)


def _position(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    open_.position = si.parse_size(data)


def _mode(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    """MS-FSA 2.1.5.15.8 FileModeInformation: write-through and sequential may change, the rest stays."""
    mode = si.parse_uint32(data)
    if mode & _NON_MODE:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    open_.mode = mode & ~_KEPT_MODE | open_.mode & _KEPT_MODE


def _full_ea(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    """MS-FSA 2.1.5.15.5 FileFullEaInformation."""
    _require(open_, c.FILE_WRITE_EA)
    set_extended_attributes(open_.volume, context.token, open_.handle, parse_full_ea(data) if data else [])
    _tell_watchers(open_, n.FILE_NOTIFY_CHANGE_EA)


def _disposition(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    set_disposition(context, open_, c.FILE_DISPOSITION_DELETE if si.parse_disposition(data) else 0)


def _disposition_ex(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    set_disposition(context, open_, si.parse_disposition_ex(data))


def _rename(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    rename(context, open_, si.parse_rename(data))


def _rename_ex(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    rename(context, open_, si.parse_rename_ex(data))


def _link(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    link(context, open_, si.parse_link(data))


def _valid_data_length(context: NtContext, open_: NtOpen, data: memoryview) -> None:
    """MS-FSA 2.1.5.15.14: whoever may manage the volume; here nothing is left uninitialised anyway."""
    raise NtStatusError(NtStatus.PRIVILEGE_NOT_HELD)


CLASSES: Final[dict[int, Callable[[NtContext, NtOpen, memoryview], None]]] = {
    c.FILE_BASIC_INFORMATION: _basic,
    c.FILE_RENAME_INFORMATION: _rename,
    c.FILE_RENAME_INFORMATION_EX: _rename_ex,
    c.FILE_LINK_INFORMATION: _link,
    c.FILE_DISPOSITION_INFORMATION: _disposition,
    c.FILE_DISPOSITION_INFORMATION_EX: _disposition_ex,
    c.FILE_POSITION_INFORMATION: _position,
    c.FILE_FULL_EA_INFORMATION: _full_ea,
    c.FILE_MODE_INFORMATION: _mode,
    c.FILE_ALLOCATION_INFORMATION: _allocation,
    c.FILE_END_OF_FILE_INFORMATION: _end_of_file,
    c.FILE_VALID_DATA_LENGTH_INFORMATION: _valid_data_length,
    c.FILE_SHORT_NAME_INFORMATION: set_short_name,
}


_METADATA: Final = frozenset(
    {
        c.FILE_RENAME_INFORMATION,
        c.FILE_RENAME_INFORMATION_EX,
        c.FILE_LINK_INFORMATION,
        c.FILE_FULL_EA_INFORMATION,
    }
)


@translated
def set_file(context: NtContext, open_: NtOpen, info_class: int, data: memoryview) -> None:
    """Set one class of information.

    Raises INVALID_INFO_CLASS, INFO_LENGTH_MISMATCH, ACCESS_DENIED and what the class has of its own.
    """
    setter = CLASSES.get(info_class)
    if setter is None:
        module_set(context, open_, InfoType.FILE, info_class, data)
        return
    setter(context, open_, data)
    if open_.sticky is not None and info_class in _METADATA:
        restore_after_change(context.token, open_)
