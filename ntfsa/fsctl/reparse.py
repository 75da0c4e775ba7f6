"""Reparse points: FSCTL_GET_, SET_ and DELETE_REPARSE_POINT (MS-FSA 2.1.5.10, MS-FSCC 2.3).

Whoever changes one must have opened the file for writing its data or attributes, on whatever kind of file it is.
"""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.notify_information import FILE_NOTIFY_CHANGE_ATTRIBUTES
from lamina.ntfsa.fscc.reparse import (
    IO_REPARSE_TAG_SYMLINK,
    ReparseData,
    SymbolicLink,
    pack_reparse_data,
    parse_reparse_data,
    parse_symbolic_link,
)
from lamina.ntfsa.fsctl.control import NOTHING, Control
from lamina.ntfsa.metadata.link_replacement import become_file, become_link, may_become_link
from lamina.ntfsa.metadata.reparse import XATTR, data_of, is_link, posix_target, reparse_data
from lamina.ntfsa.posix.posix_names import unmapped
from lamina.ntfsa.result import Information, fitted
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Capability, DosAttributes
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.operations import FileStat

_HEADER_SIZE: Final = 8
_MAY_CHANGE: Final = c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES


def get_reparse_point(control: Control) -> Information:
    """FSCTL_GET_REPARSE_POINT: BUFFER_OVERFLOW where not all has room, NOT_A_REPARSE_POINT."""
    data = pack_reparse_data(reparse_data(control.context.token, control.open))
    if control.max_output < _HEADER_SIZE:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    return fitted(data, control.max_output)


def _require_change(control: Control) -> None:
    open_ = control.open
    control.require_any(_MAY_CHANGE)
    if not open_.vfs_path or open_.volume.settings.read_only:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the root of a share, or one that is read-only")
    needed = Capability.XATTRS | Capability.DOS_ATTRIBUTES
    if needed not in open_.volume.capabilities:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "there is no place for reparse points here")


def _current(control: Control, stat: "FileStat") -> ReparseData | None:
    open_ = control.open
    return data_of(open_.volume, control.context.token, open_.handle, open_.vfs_path, stat)


def _require_same(current: ReparseData, asked: ReparseData) -> None:
    if current.tag != asked.tag:
        raise NtStatusError(NtStatus.IO_REPARSE_TAG_MISMATCH)
    if current.guid != asked.guid:
        raise NtStatusError(NtStatus.REPARSE_ATTRIBUTE_CONFLICT)


def set_reparse_point(control: Control) -> Information:
    """FSCTL_SET_REPARSE_POINT: an existing one is replaced by one with the same tag only.

    Raises ACCESS_DENIED, IO_REPARSE_DATA_INVALID, IO_REPARSE_TAG_INVALID, IO_REPARSE_TAG_MISMATCH,
    REPARSE_ATTRIBUTE_CONFLICT, DIRECTORY_NOT_EMPTY.
    """
    _require_change(control)
    asked = parse_reparse_data(control.input)
    link = parse_symbolic_link(asked.data) if asked.tag == IO_REPARSE_TAG_SYMLINK else None
    open_, token = control.open, control.context.token
    stat = open_.volume.chain.fstat(token, open_.handle)
    current = _current(control, stat)
    if current is not None:
        _require_same(current, asked)
    elif open_.is_directory and next(iter(open_.volume.chain.readdir(token, open_.handle, False)), None) is not None:
        raise NtStatusError(NtStatus.DIRECTORY_NOT_EMPTY)
    target = _link_target(open_, link) if link is not None else None
    if target is not None and may_become_link(open_, stat):
        become_link(token, open_, target)
    elif is_link(stat):
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "no link of this file system can hold that")
    else:
        _store(control, stat, bytes(control.input))
    _tell_watchers(control)
    return NOTHING


def _link_target(open_: "NtOpen", link: SymbolicLink) -> str | None:
    if not open_.posix:
        return posix_target(link)
    # It has been checked that this is the client's to make; nothing here ever follows one out of the share.
    name = link.substitute_name
    if not name or "\0" in name:
        return None
    target = "/".join(map(unmapped, name.split("/")))
    # Linux leaves the first separator out, as of every path.
    return target if link.relative or name.startswith(("/", "\\")) else f"/{target}"


def _store(control: Control, stat: "FileStat", value: bytes) -> None:
    # First the data and then the attribute: what claims to be a reparse point is one.
    chain, token, handle = control.open.volume.chain, control.context.token, control.open.handle
    chain.setxattr(token, handle, XATTR, value)
    dos = chain.get_dos_attributes(token, handle, stat)
    attributes = dos.attributes | c.FILE_ATTRIBUTE_REPARSE_POINT
    chain.set_dos_attributes(token, handle, DosAttributes(attributes, dos.creation_ns))


def delete_reparse_point(control: Control) -> Information:
    """FSCTL_DELETE_REPARSE_POINT: the file stays, as what it is without; a symbolic link becomes an empty file.

    Raises ACCESS_DENIED, IO_REPARSE_DATA_INVALID, NOT_A_REPARSE_POINT, IO_REPARSE_TAG_MISMATCH,
    REPARSE_ATTRIBUTE_CONFLICT.
    """
    _require_change(control)
    asked = parse_reparse_data(control.input)
    if asked.data:
        raise NtStatusError(NtStatus.IO_REPARSE_DATA_INVALID, "data for a reparse point that is to be deleted")
    open_, token = control.open, control.context.token
    chain, handle = open_.volume.chain, open_.handle
    stat = chain.fstat(token, handle)
    current = _current(control, stat)
    if current is None:
        raise NtStatusError(NtStatus.NOT_A_REPARSE_POINT)
    _require_same(current, asked)
    if is_link(stat):
        become_file(token, open_)
    else:
        dos = chain.get_dos_attributes(token, handle, stat)
        attributes = dos.attributes & ~c.FILE_ATTRIBUTE_REPARSE_POINT
        chain.set_dos_attributes(token, handle, DosAttributes(attributes, dos.creation_ns))
        chain.removexattr(SERVER_TOKEN, handle, XATTR)
    _tell_watchers(control)
    return NOTHING


def _tell_watchers(control: Control) -> None:
    watchers = control.open.volume.watchers
    if watchers is not None:
        watchers.modified(control.open.vfs_path, FILE_NOTIFY_CHANGE_ATTRIBUTES)
