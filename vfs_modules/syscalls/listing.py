"""Everything a listing needs of a directory's entries, many at a time.

A directory of ten thousand files is asked for as often as a single file, so what is done for each entry is two system
calls and little else: no exception where one has no such attribute, no path through /proc where the kernel can do
without, credentials and buffers looked up once for a batch.
"""

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import DirectoryEntry, EntryXattrs
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


def xattrs_in(
    token: ImpersonationToken, directory: int, entries: Sequence[str], names: Sequence[str]
) -> list[EntryXattrs]:
    """What many components of a directory, or links themselves, have of extended attributes.

    Only those are asked for a value that say that they have one: a folder that Lamina has not filled costs less.
    """
    assume(token)
    wanted = tuple(map(encode_name, names))
    if not libc.HAS_GETXATTRAT or type(xattrs.calls) is not xattrs.StandardXattrs:
        return [_through_path(directory, encode_name(entry), wanted) for entry in entries]
    buffer, address, size = libc.buffers.xattr_names
    call, number, flags = libc.listxattrat, libc.LISTXATTRAT, libc.AT_SYMLINK_NOFOLLOW
    value, arguments = libc.buffers.xattr
    get, arguments_size = libc.GETXATTRAT, libc.XATTR_ARGUMENTS_SIZE
    listed, nothing = _listed, _nothing(len(wanted), errno.ENODATA)
    found: list[EntryXattrs] = []
    add = found.append
    for entry in entries:
        raw = entry.encode() if entry.isascii() else encode_name(entry)
        length = call(number, directory, raw, flags, address, size)
        if length > 0:
            told, stored = listed(bytes(buffer[:length]), wanted)
            values: list[bytes | int] = []
            for name in stored:
                length = call(get, directory, raw, flags, name, arguments, arguments_size) if name else -1
                if length >= 0:
                    values.append(bytes(value[:length]))
                else:
                    values.append(_no_value(directory, raw, name))
            add(_new(EntryXattrs, (told, tuple(values))))
        elif not length:
            add(nothing)
        elif ctypes.get_errno() == errno.ERANGE:
            add(_through_path(directory, raw, wanted))
        else:
            add(_nothing(len(wanted), ctypes.get_errno()))
    return found


@lru_cache(maxsize=64)
def _nothing(count: int, number: int) -> EntryXattrs:
    return EntryXattrs((), (number,) * count)


@lru_cache(maxsize=1024)
def _listed(attributes: bytes, wanted: tuple[bytes, ...]) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """The names in what listxattr(2) says, and those of `wanted` that are among them; b"" for one that is not.

    Most files of a folder have the same.
    """
    told = attributes.split(b"\0")[:-1]
    return tuple(map(decode_name, told)), tuple(name if name in told else b"" for name in wanted)


def _no_value(directory: int, entry: bytes, name: bytes) -> bytes | int:
    """Why there is none, or the value that was too long."""
    if not name:
        return errno.ENODATA
    number = ctypes.get_errno()
    return _value_through_path(directory, entry, name) if number == errno.ERANGE else number


def _through_path(directory: int, entry: bytes, wanted: tuple[bytes, ...]) -> EntryXattrs:
    try:
        told = xattrs.calls.list(proc_path(directory) + b"/" + entry, False)
    except OSError as error:
        return _nothing(len(wanted), error.errno or errno.EIO)
    values = [_value_through_path(directory, entry, name) if name in told else errno.ENODATA for name in wanted]
    return EntryXattrs(tuple(map(decode_name, told)), tuple(values))


def _value_through_path(directory: int, entry: bytes, name: bytes) -> bytes | int:
    try:
        return xattrs.calls.get(proc_path(directory) + b"/" + entry, name, False)
    except OSError as error:
        return error.errno or errno.EIO
