"""Opening and creating named streams (MS-FSA 2.1.5.1 Server Requests an Open of a File, where a stream is named).

The file itself has been opened for its attributes, or made, as for any other open. Rights, attributes and times are the
file's; sharing, caching, locks and deletion are each stream's own.
"""

import contextlib
import errno
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import information_of
from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.grants.grant_breaks import data_changes
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_check import Request, data_access
from lamina.ntfsa.opening.create_existing import (
    admitted_or_closed,
    check_attributes,
    grant_request,
    maximal_rights,
    register,
    require_no_link,
    still_names,
    unregister,
)
from lamina.ntfsa.record import FileKey
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_changes import tell_data_changed, tell_stream_name
from lamina.ntfsa.streams.stream_opens import attach, key_of_file
from lamina.vfs_modules.extensions import ClientTrait
from lamina.vfs_modules.operations import Access, OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

MAX_STREAMS: Final = 4096
"""Streams that clients may give one file: they are listed whole, and looked through for names in another case."""

_Admitted = tuple[NtOpen, int, NetworkOpenInformation, int]
_LOOK: Final = OpenHow(Access.PATH)
_NOT_FOUND: Final = frozenset({c.FILE_OPEN, c.FILE_OVERWRITE})
_REFUSALS: Final = frozenset({errno.EACCES, errno.EROFS})


class Found(NamedTuple):
    """A stream that was looked for: its `name` as it is kept, or None; then `others` is how many the file has."""

    name: str | None
    others: int = 0


def find_stream(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", name: str) -> Found:
    """Look for a stream of a file by its name, which may be kept in another case."""
    chain = volume.whole_chain
    try:
        chain.close(token, chain.open_stream(token, handle, name, _LOOK))
    except FileNotFoundError:
        pass
    else:
        return Found(name)
    wanted, streams = fold(name), chain.list_streams(token, handle)
    return Found(next((entry.name for entry in streams if fold(entry.name) == wanted), None), len(streams))


def admit_stream(request: Request, handle: "VfsHandle", vfs_path: str, path: str) -> _Admitted | None:
    """Open or create a stream of the existing file of `handle`; None where the name means another file meanwhile.

    The handle belongs to the open afterwards, and is closed where none comes of it.
    """
    return admitted_or_closed(_admit, request, handle, vfs_path, path)


def _admit(request: Request, handle: "VfsHandle", vfs_path: str, path: str) -> _Admitted | None:
    volume, token, asked = request.volume, request.token, request.path.stream
    open_: NtOpen | None = None
    while open_ is None:
        stat = volume.chain.fstat(token, handle)
        if not stat.nlink:
            return None
        name, others = find_stream(volume, token, handle, asked)
        key = (stat.dev, stat.ino, fold(name or asked))
        if name is not None and ClientTrait.EMPTY_STREAMS_VANISH in request.context.client.traits:
            name = _not_if_empty(request, handle, name)
        _check(request, key, name)
        if others >= MAX_STREAMS and name is None:
            raise NtStatusError(NtStatus.FILE_SYSTEM_LIMITATION, "a file has no more streams than this")
        dos = volume.chain.get_dos_attributes(token, handle, stat)
        require_no_link(request, handle, vfs_path, stat, dos)
        maximal = maximal_rights(request, handle, vfs_path, stat, dos.attributes)
        if name is None and not maximal & c.FILE_WRITE_DATA:
            raise NtStatusError(NtStatus.ACCESS_DENIED, "a new stream changes the file")
        shown = f"{path}:{name or asked}"
        granted = grant_request(request, maximal, shown)
        # Overwriting a stream leaves the file's attributes alone, whatever they are.
        unlike = c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_SYSTEM
        check_attributes(request, stat, dos.attributes & ~unlike, granted, maximal)
        open_ = register(request, handle, shown, vfs_path, key, granted)
        if open_ is None and not still_names(request, vfs_path, key):
            return None
    open_.unarchived = not dos.attributes & c.FILE_ATTRIBUTE_ARCHIVE
    try:
        action = add_stream(request, open_, name)
        return open_, action, information_of(token, open_), maximal
    except BaseException:
        unregister(open_)
        raise


def _not_if_empty(request: Request, handle: "VfsHandle", name: str) -> str | None:
    """The stream, or None where only opening it is asked and there is nothing in it, for clients that see it so."""
    if request.disposition != c.FILE_OPEN:
        return name
    streams = request.volume.whole_chain.list_streams(request.token, handle)
    return next((entry.name for entry in streams if entry.name == name and entry.size), None)


def _check(request: Request, key: FileKey, name: str | None) -> None:
    """What can be said once it is known whether the stream is there: `name` None if it is not."""
    registry = request.volume.registry
    if request.lease:
        request.volume.leases.check(request.lease, key)
    if name is not None and request.disposition == c.FILE_CREATE:
        raise NtStatusError(NtStatus.OBJECT_NAME_COLLISION)
    if registry.read(key_of_file(key)).delete_pending or registry.read(key).delete_pending:
        raise NtStatusError(NtStatus.DELETE_PENDING)
    if name is None and request.disposition in _NOT_FOUND:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND)


def add_stream(request: Request, open_: NtOpen, name: str | None) -> int:
    """Open the data of the stream `name`, or make that of the request (None); the action: FILE_CREATED and so on."""
    token = request.token
    try:
        data = _open_data(request, open_, name)
    except FileExistsError:
        # Somebody was faster. Both are registered as opens of this stream by now.
        if request.disposition == c.FILE_CREATE:
            raise
        name = request.path.stream
        data = _open_data(request, open_, name)
    try:
        attach(open_, data, name or request.path.stream)
    except BaseException:
        if name is None:
            with contextlib.suppress(OSError):
                open_.volume.whole_chain.remove_stream(token, open_.handle, request.path.stream)
        raise
    if name is None:
        tell_stream_name(open_, request.path.stream, n.FILE_ACTION_ADDED_STREAM)
        return c.FILE_CREATED
    if not request.overwrites:
        return c.FILE_OPENED
    open_.chain.ftruncate(token, open_.data, 0)
    data_changes(open_)
    tell_data_changed(open_, n.WRITTEN)
    return c.FILE_SUPERSEDED if request.disposition == c.FILE_SUPERSEDE else c.FILE_OVERWRITTEN


def _open_data(request: Request, open_: NtOpen, name: str | None) -> "VfsHandle":
    """A handle for what the open was granted; less where that is all that the file system lets it have."""
    chain, token, handle = open_.volume.whole_chain, request.token, open_.handle
    wanted = data_access(open_.granted_access | request.implied)
    if name is None:
        return chain.open_stream(token, handle, request.path.stream, OpenHow(wanted, create=True, exclusive=True))
    try:
        return chain.open_stream(token, handle, name, OpenHow(wanted))
    except OSError as error:
        if error.errno not in _REFUSALS or not request.desired & c.MAXIMUM_ALLOWED:
            raise
    return chain.open_stream(token, handle, name, OpenHow(Access.READ))
