"""What `ceph` keeps of a file beside its data: sizes, times, mode, owner, extended attributes."""

import errno
from collections.abc import Sequence
from ctypes import byref, c_size_t, create_string_buffer
from functools import lru_cache
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import EntryXattrs, FileStat, Times, VolumeStatistics
from lamina.vfs_modules.token import ImpersonationToken

from lamina_ceph.errors import LOST, checked
from lamina_ceph.files import BLOCK, Opened, file_stat
from lamina_ceph.library import SET_ATIME, SET_GID, SET_MODE, SET_MTIME, SET_UID, WANT, Statvfs, Statx, Timespec
from lamina_ceph.mount import Mount
from lamina_ceph.permissions import UserPermissions
from lamina_ceph.share import CephShare
from lamina_ceph.walking import Found, Walk

_USUAL: Final = 1024
_BILLION: Final = 1_000_000_000
_END_OF_TIME: Final = 2**32 * _BILLION
"""CephFS keeps seconds since 1970 in 32 bits without a sign."""

_OURS: Final = b"ceph."
"""What the names of attributes begin with that Ceph answers for, and that are not kept."""


class CephAttributes(CephShare):
    """The part of `ceph` that handles attributes."""

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes of the data pool, or of the quota that the share's root is under."""
        return self._of(handle, _statfs)

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle."""
        return self._of(handle, _fstat)

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set last access and last write, as far as CephFS can keep them; the birth time stays what it is."""
        values, what = {}, 0
        for name, flag, time in (("atime", SET_ATIME, times.access_ns), ("mtime", SET_MTIME, times.write_ns)):
            if time is not None and 0 <= time < _END_OF_TIME:
                values[name] = Timespec(*divmod(time, _BILLION))
                what |= flag
        if what:
            self._of(handle, _set, Statx(**values), what, self._permissions(token))

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits."""
        self._of(handle, _set, Statx(mode=mode & 0o7777), SET_MODE, self._permissions(token))

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group."""
        what = (0 if uid == -1 else SET_UID) | (0 if gid == -1 else SET_GID)
        if what:
            self._of(handle, _set, Statx(uid=max(uid, 0), gid=max(gid, 0)), what, self._permissions(token))

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute; `ceph.*` are Ceph's answers, such as `ceph.file.layout`."""
        return self._of(handle, _getxattr, encode_name(name), self._permissions(token))

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute."""
        self._of(handle, _setxattr, encode_name(name), bytes(value), self._permissions(token))

    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute."""
        self._of(handle, _removexattr, encode_name(name), self._permissions(token), again=False)

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The names of the extended attributes that are kept."""
        names = self._of(handle, _listxattr, self._permissions(token))
        return [decode_name(name) for name in names if name and not name.startswith(_OURS)]

    def getxattrs_in(
        self, token: ImpersonationToken, directory: VfsHandle, entries: Sequence[str], names: Sequence[str]
    ) -> list[EntryXattrs]:
        """The extended attributes of many entries, in one turn of a thread."""
        wanted = tuple(map(encode_name, names))
        return self._beneath(token, directory, _xattrs_in, [*map(encode_name, entries)], wanted, again=True)


def _statfs(mount: Mount, opened: Opened) -> VolumeStatistics:
    raw = Statvfs()
    checked(mount.library.ceph_ll_statfs(mount.pointer, opened.inode, byref(raw)))
    block = raw.frsize or raw.bsize
    return VolumeStatistics(BLOCK, raw.blocks * block, raw.bfree * block, raw.bavail * block, mount.device)


def _fstat(mount: Mount, opened: Opened) -> FileStat:
    raw = Statx()
    checked(mount.library.ceph_ll_getattr(mount.pointer, opened.inode, byref(raw), WANT, 0, mount.server.pointer))
    return file_stat(raw, mount.device)


def _set(mount: Mount, opened: Opened, raw: Statx, what: int, permissions: UserPermissions) -> None:
    checked(mount.library.ceph_ll_setattr(mount.pointer, opened.inode, byref(raw), what, permissions.pointer))


def _getxattr(mount: Mount, opened: Opened, name: bytes, permissions: UserPermissions) -> bytes:
    return _value_of(mount, opened.inode, name, permissions)


def _value_of(mount: Mount, inode: int, name: bytes, permissions: UserPermissions) -> bytes:
    call = mount.library.ceph_ll_getxattr
    value = create_string_buffer(_USUAL)
    while True:
        length = call(mount.pointer, inode, name, value, len(value), permissions.pointer)
        if length != -errno.ERANGE:
            return value.raw[: checked(length)]
        needed = checked(call(mount.pointer, inode, name, None, 0, permissions.pointer))
        value = create_string_buffer(max(needed, 2 * len(value)))


def _setxattr(mount: Mount, opened: Opened, name: bytes, value: bytes, permissions: UserPermissions) -> None:
    checked(
        mount.library.ceph_ll_setxattr(mount.pointer, opened.inode, name, value, len(value), 0, permissions.pointer)
    )


def _removexattr(mount: Mount, opened: Opened, name: bytes, permissions: UserPermissions) -> None:
    checked(mount.library.ceph_ll_removexattr(mount.pointer, opened.inode, name, permissions.pointer))


def _listxattr(mount: Mount, opened: Opened, permissions: UserPermissions) -> list[bytes]:
    return _list_of(mount, opened.inode, permissions)


def _list_of(mount: Mount, inode: int, permissions: UserPermissions) -> list[bytes]:
    call, size = mount.library.ceph_ll_listxattr, c_size_t()
    names = create_string_buffer(_USUAL)
    while True:
        result = call(mount.pointer, inode, names, len(names), byref(size), permissions.pointer)
        if result != -errno.ERANGE:
            checked(result)
            return names.raw[: size.value].split(b"\0")
        names = create_string_buffer(2 * len(names))


def _xattrs_in(walk: Walk, directory: Opened, entries: list[bytes], wanted: tuple[bytes, ...]) -> list[EntryXattrs]:
    reader = _Reader(walk, wanted)
    parent = walk.begin(directory)
    return [reader.of_entry(parent, entry) for entry in entries]


class _Reader:
    """Reads the attributes of many files, of which the library mostly knows all: the memory for it is made once."""

    def __init__(self, walk: Walk, wanted: tuple[bytes, ...]) -> None:
        self._walk, self._wanted = walk, wanted
        self._library, self._mount = walk.mount.library, walk.mount.pointer
        self._buffer, self._size = create_string_buffer(_USUAL), c_size_t()

    def of_entry(self, parent: Found, entry: bytes) -> EntryXattrs:
        """What an entry of a directory has."""
        try:
            found = self._walk.step(parent, entry)
        except OSError as error:
            return EntryXattrs((), (_own(error),) * len(self._wanted))
        try:
            return self._of_inode(found.inode)
        except OSError as error:
            return EntryXattrs((), (_own(error),) * len(self._wanted))
        finally:
            self._walk.put(found)

    def _of_inode(self, inode: int) -> EntryXattrs:
        permissions = self._walk.permissions
        result = self._library.ceph_ll_listxattr(
            *(self._mount, inode, self._buffer, _USUAL, byref(self._size), permissions.pointer)
        )
        if result == -errno.ERANGE:
            listed = b"\0".join([*_list_of(self._walk.mount, inode, permissions), b""])
        else:
            checked(result)
            listed = self._buffer.raw[: self._size.value]
        told, stored = _told(listed, self._wanted)
        return EntryXattrs(told, tuple([self._value(inode, name) if name else errno.ENODATA for name in stored]))

    def _value(self, inode: int, name: bytes) -> bytes | int:
        permissions = self._walk.permissions
        result = self._library.ceph_ll_getxattr(self._mount, inode, name, self._buffer, _USUAL, permissions.pointer)
        if result >= 0:
            return self._buffer.raw[:result]
        try:
            return _value_of(self._walk.mount, inode, name, permissions)
        except OSError as error:
            return _own(error)


@lru_cache(maxsize=256)
def _told(listed: bytes, wanted: tuple[bytes, ...]) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """The names that are told of in a list of the library, and those wanted that are in it; b"" for one that is not.

    Most files of a folder have the same. What Ceph answers for is in no list.
    """
    names = [name for name in listed.split(b"\0") if name and not name.startswith(_OURS)]
    return tuple(map(decode_name, names)), tuple(
        name if name in names or name.startswith(_OURS) else b"" for name in wanted
    )


def _own(error: OSError) -> int:
    """The errno of what is one entry's own affair; what is not is raised."""
    if error.errno is None or error.errno in LOST:
        raise error
    return error.errno
