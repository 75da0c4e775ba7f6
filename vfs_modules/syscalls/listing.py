"""Everything a listing needs of a directory's entries, many at a time.

A directory of ten thousand files is asked for as often as a single file, so what is done for each entry is two system
calls and little else: no exception where one has no such attribute, no path through /proc where the kernel can do
without, credentials and buffers looked up once for a batch.
"""

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from itertools import islice

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import DirectoryEntry
from lamina.vfs_modules.syscalls import libc, xattrs
from lamina.vfs_modules.syscalls.attributes import proc_path, stat_in
from lamina.vfs_modules.token import ImpersonationToken

_BATCH = 64
_new = tuple.__new__


def list_entries(token: ImpersonationToken, fd: int) -> Iterator[DirectoryEntry]:
    """The entries of a directory with their status, none where the token may not see it. `fd` is open for reading."""
    assume(token)
    with os.scandir(fd) as found:
        while batch := list(islice(found, _BATCH)):
            yield from _look_at(token, fd, batch)


def _look_at(token: ImpersonationToken, directory: int, found: "list[os.DirEntry[str]]") -> list[DirectoryEntry]:
    assume(token)
    buffer, address = libc.buffers.statx
    statx, file_stat = libc.statx, stat_in
    entries: list[DirectoryEntry] = []
    add = entries.append
    for item in found:
        name = item.name
        if name.isascii():
            raw = name.encode()
        else:
            raw = os.fsencode(name)
            name = decode_name(raw)
        if not statx(directory, raw, 0x100, 0xFFF, address):  # AT_SYMLINK_NOFOLLOW, all fields
            add(_new(DirectoryEntry, (name, file_stat(buffer), None, True)))
        elif ctypes.get_errno() == errno.EACCES:
            add(DirectoryEntry(name))
        elif ctypes.get_errno() != errno.ENOENT:  # removed since the directory was read
            libc.fail(name)
    return entries


def getxattrs_in(
    token: ImpersonationToken, directory: int, entries: Sequence[str], name: bytes
) -> list[bytes | OSError]:
    """The value of one extended attribute of many components of a directory, of links themselves; or why there is none.

    An error comes back in its place and is not raised.
    """
    assume(token)
    if not libc.HAS_GETXATTRAT or not isinstance(xattrs.calls, xattrs.StandardXattrs):
        return _through_paths(directory, entries, name)
    buffer, arguments = libc.buffers.xattr
    call, get_errno = libc.getxattrat, ctypes.get_errno
    number, flags, size = libc.GETXATTRAT, libc.AT_SYMLINK_NOFOLLOW, libc.XATTR_ARGUMENTS_SIZE
    values: list[bytes | OSError] = []
    add = values.append
    for entry in entries:
        raw = entry.encode() if entry.isascii() else encode_name(entry)
        length = call(number, directory, raw, flags, name, arguments, size)
        if length >= 0:
            add(bytes(buffer[:length]))
        elif (error := get_errno()) == errno.ENODATA:
            add(_NO_DATA)
        else:
            add(_get(directory, raw, name) if error == errno.ERANGE else OSError(error, os.strerror(error)))
    return values


def listxattrs_in(token: ImpersonationToken, directory: int, entries: Sequence[str]) -> list[bytes]:
    """The names of the extended attributes of many components of a directory, each with a NUL behind it (listxattr(2)).

    b"" also where `token` may not see them, or the file has no place for any. Components that are symbolic links are
    not for this.
    """
    assume(token)
    if not libc.HAS_GETXATTRAT or not isinstance(xattrs.calls, xattrs.StandardXattrs):
        return [_list(directory, encode_name(entry)) for entry in entries]
    buffer, address, size = libc.buffers.xattr_names
    call, number, flags = libc.listxattrat, libc.LISTXATTRAT, libc.AT_SYMLINK_NOFOLLOW
    found: list[bytes] = []
    add = found.append
    for entry in entries:
        raw = entry.encode() if entry.isascii() else encode_name(entry)
        length = call(number, directory, raw, flags, address, size)
        if length > 0:
            add(bytes(buffer[:length]))
        else:
            add(_list(directory, raw) if length and ctypes.get_errno() == errno.ERANGE else b"")
    return found


def _list(directory: int, entry: bytes) -> bytes:
    try:
        return b"".join(name + b"\0" for name in xattrs.calls.list(proc_path(directory) + b"/" + entry))
    except OSError:
        return b""


_NO_DATA = OSError(errno.ENODATA, os.strerror(errno.ENODATA))


def _through_paths(directory: int, entries: Sequence[str], name: bytes) -> list[bytes | OSError]:
    return [_get(directory, encode_name(entry), name) for entry in entries]


def _get(directory: int, entry: bytes, name: bytes) -> bytes | OSError:
    try:
        return xattrs.calls.get(proc_path(directory) + b"/" + entry, name, False)
    except OSError as error:
        return error
