"""The second phase of an open, for a file that does not exist (MS-FSA 2.1.5.1.1 Creation of a New File)."""

import contextlib
import errno
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import hides, network_open
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.naming.lookup import Resolved, nt_path
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.opening.create_check import Request
from lamina.ntfsa.opening.create_existing import register_after_breaks, unregister
from lamina.ntfsa.opening.create_finish import UNSUPPORTED, apply_extended_attributes, apply_security, reserve
from lamina.ntfsa.opening.create_stream import add_stream
from lamina.ntfsa.posix.posix_extensions import settle_mode
from lamina.ntfsa.security.access import MODIFIES, opens_by_privilege, require_child_creation
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Access, DosAttributes, OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.notify.name_changes import NameChange
    from lamina.vfs_modules.chain import Next
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

_Made = tuple[NtOpen, int, NetworkOpenInformation, int]
_DIRECTORY_HOW: Final = OpenHow(Access.READ, directory=True)
_FALLBACK_HOW: Final = OpenHow(Access.PATH, directory=True)


def create_new(request: Request, where: Resolved) -> _Made | None:
    """Make the file or directory; None where others had the name meanwhile, and it is to be looked at again."""
    directory = bool(request.options & c.FILE_DIRECTORY_FILE)
    _check(request, directory)
    if request.lease:
        request.volume.leases.check(request.lease, None)
    above = require_child_creation(
        request.volume, request.context, where.parent, where.parent_stat, directory, request.backup_intent
    )
    change = request.volume.name_changes.begin(where.vfs_path)
    if change is None:
        return None
    with change:
        return _create(request, change, where.vfs_path, above)


def _create(request: Request, change: "NameChange", path: str, above: bytes | None) -> _Made | None:
    try:
        handle = _make(request, change, path)
    except FileExistsError:
        if request.must_be_new:
            raise
        return None
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise NtStatusError(NtStatus.OBJECT_PATH_NOT_FOUND) from error
        raise
    try:
        return _finish(request, handle, path, above)
    except BaseException:
        _unmake(request, change, handle, path)
        raise


def _check(request: Request, directory: bool) -> None:
    path = request.path
    if not directory and path.trailing_separator:
        raise NtStatusError(NtStatus.OBJECT_NAME_INVALID, "only a directory's name ends in a separator")
    attributes = request.parameters.file_attributes
    if attributes & c.FILE_ATTRIBUTE_READONLY and request.options & c.FILE_DELETE_ON_CLOSE:
        raise NtStatusError(NtStatus.CANNOT_DELETE)


def _make(request: Request, change: "NameChange", path: str) -> "VfsHandle":
    """Make it as the user; where the kernel refuses him and he restores a backup, as the server, and give it to him."""
    make = _make_directory if request.options & c.FILE_DIRECTORY_FILE else _make_file
    try:
        return make(request, request.token, change, path)
    except PermissionError:
        if not _restores(request):
            raise
    handle = make(request, SERVER_TOKEN, change, path)
    try:
        request.volume.chain.fchown(SERVER_TOKEN, handle, request.token.uid, request.token.gid)
    except BaseException:
        _unmake(request, change, handle, path)
        raise
    return handle


def _restores(request: Request) -> bool:
    return opens_by_privilege(request.token, Access.WRITE, request.backup_intent)


def _make_file(request: Request, token: "ImpersonationToken", change: "NameChange", path: str) -> "VfsHandle":
    volume = request.volume
    # A new file may be written through the handle that made it, whatever its mode will be.
    mode = _first_mode(request, volume.settings.file_mode, 0o600)
    how = _new_file(mode)
    try:
        handle = volume.chain.open(token, volume.root, path, how)
    except PermissionError:
        if mode & 0o400:
            raise
        handle = volume.chain.open(token, volume.root, path, replace(how, access=Access.WRITE))
    change.added(path, False, _parent_key(request))
    return handle


@lru_cache(maxsize=512)
def _new_file(mode: int) -> OpenHow:
    return OpenHow(Access.READ_WRITE, create=True, exclusive=True, mode=mode)


def _make_directory(request: Request, token: "ImpersonationToken", change: "NameChange", path: str) -> "VfsHandle":
    chain, root = request.volume.chain, request.volume.root
    chain.mkdir(token, root, path, _first_mode(request, request.volume.settings.directory_mode, 0o700))
    change.added(path, True, _parent_key(request))
    try:
        return chain.open(token, root, path, _DIRECTORY_HOW)
    except PermissionError:
        return chain.open(token, root, path, _FALLBACK_HOW)


def _parent_key(request: Request) -> bytes:
    lease = request.parameters.lease
    return (lease.parent_key if lease is not None else None) or b""


def _first_mode(request: Request, usual: int, needed: int) -> int:
    # Whoever is to have less than that himself has it until everything else about the file is done.
    return usual if request.posix_mode is None else request.posix_mode | needed


def _finish(request: Request, handle: "VfsHandle", path: str, above: bytes | None) -> _Made:
    volume, token, parameters = request.volume, request.token, request.parameters
    chain = volume.chain
    stat = chain.fstat(token, handle)
    granted = _granted(request)
    shown = path if path == parameters.path and "/" not in path else nt_path(path)
    stream = request.path.stream
    if stream:
        shown = f"{shown}:{stream}"
    open_ = register_after_breaks(request, handle, shown, path, (stat.dev, stat.ino, fold(stream)), granted)
    try:
        attributes = _new_attributes(request, handle)
        if attributes:
            _set_attributes(chain, token, handle, attributes)
        if parameters.extended_attributes is not None:
            apply_extended_attributes(request, handle)
        if stat.compressed and request.options & c.FILE_NO_COMPRESSION:
            chain.set_compressed(token, handle, False)
        # A mode that was given says what the file is, whatever its directory passes on.
        posix_mode = request.posix_mode
        if above is not None or parameters.security_descriptor is not None:
            apply_security(request, handle, stat, above if posix_mode is None else None)
        if stream:
            add_stream(request, open_, None)
        else:
            reserve(request, open_)
        if posix_mode is not None:
            settle_mode(volume, token, handle, stat, posix_mode)
        stat = chain.fstat(token, handle)
        dos = chain.get_dos_attributes(token, handle, stat)
    except BaseException:
        unregister(open_)
        raise
    return open_, c.FILE_CREATED, network_open(stat, dos, hides(open_), open_.reserved), c.FILE_ALL_ACCESS


def _set_attributes(chain: "Next", token: "ImpersonationToken", handle: "VfsHandle", attributes: int) -> None:
    try:
        chain.set_dos_attributes(token, handle, DosAttributes(attributes, None))
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _granted(request: Request) -> int:
    # Whoever makes a file has what was asked: its descriptor is checked from the next open on.
    granted = request.desired & ~c.MAXIMUM_ALLOWED
    if request.desired & c.MAXIMUM_ALLOWED:
        granted |= c.FILE_ALL_ACCESS
    granted &= request.context.share_access | c.ACCESS_SYSTEM_SECURITY
    return granted & ~MODIFIES if request.volume.settings.read_only else granted


def _new_attributes(request: Request, handle: "VfsHandle") -> int:
    attributes = request.parameters.file_attributes & c.SETTABLE_FILE_ATTRIBUTES
    if handle.is_directory:
        return attributes & ~(c.FILE_ATTRIBUTE_TEMPORARY | c.FILE_ATTRIBUTE_ARCHIVE)
    return attributes | c.FILE_ATTRIBUTE_ARCHIVE


def _unmake(request: Request, change: "NameChange", handle: "VfsHandle", path: str) -> None:
    chain = request.volume.chain
    with contextlib.suppress(OSError):
        _remove(request, change, handle, path)
    with contextlib.suppress(OSError):
        chain.close(request.token, handle)


def _remove(request: Request, change: "NameChange", handle: "VfsHandle", path: str) -> None:
    chain, token, root = request.volume.chain, request.token, request.volume.root
    made, named = chain.fstat(token, handle), chain.stat(token, root, path, False)
    if (made.dev, made.ino) != (named.dev, named.ino):
        return  # a local program has put another file there
    remove = chain.rmdir if handle.is_directory else chain.unlink
    remove(token, root, path)
    change.taken_back(path, handle.is_directory)
