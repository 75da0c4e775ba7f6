"""What the backend tells and sets of a file beside its data."""

import errno
import os
from collections.abc import Sequence
from itertools import chain
from typing import Any

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import EntryXattrs, FileStat, Times, VolumeStatistics
from lamina.vfs_modules.token import ImpersonationToken

from lamina_glusterfs import binding
from lamina_glusterfs.binding import NUMBER, STATVFS, file_stat, time_bytes
from lamina_glusterfs.entries import EntryReader
from lamina_glusterfs.opened import Opened
from lamina_glusterfs.share import GlusterShare
from lamina_glusterfs.volume import LARGEST_VALUE

_NAMESPACES = ("user.", "security.", "system.posix_acl_", "trusted.")
_HIDDEN = ("trusted.", "glusterfs.")
_LONGEST_NAME = 255
_AT_ONCE = 4
_FEW = 8
"""On how many threads entries are asked for at once, and how many one thread is worth while for."""


class GlusterAttributes(GlusterShare):
    """The part of the backend that handles attributes."""

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes of the volume, or of a quota where the volume is to tell that (`features.quota-deem-statfs`)."""
        return self._ask(token, handle, self._statfs)

    def _statfs(self, opened: Opened) -> VolumeStatistics:
        api = self._volume.api
        found = api.ffi.new("struct statvfs *")
        if api.lib.glfs_h_statfs(self._volume.fs, opened.object, found):
            raise self._volume.failure()
        _, unit, blocks, free, available, files, free_files = STATVFS.unpack_from(api.ffi.buffer(found))
        return VolumeStatistics(
            unit, blocks * unit, free * unit, available * unit, self._volume.number, files, free_files
        )

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle."""
        return self._ask(token, handle, self._status)

    def _status(self, opened: Opened) -> FileStat:
        api = self._volume.api
        status = api.ffi.new("struct stat *")
        if opened.descriptor is not None:
            failed = api.lib.glfs_fstat(opened.descriptor, status)
        else:
            failed = api.lib.glfs_h_stat(self._volume.fs, opened.object, status)
        if failed:
            raise self._volume.failure()
        return file_stat(api.form, api.ffi.buffer(status))

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set last access and last write; a volume keeps no other time that can be set."""
        form = self._volume.api.form
        changes: list[tuple[int, int, bytes]] = []
        if times.access_ns is not None:
            changes.append((binding.SET_ATIME, form.atime_at, time_bytes(times.access_ns)))
        if times.write_ns is not None:
            changes.append((binding.SET_MTIME, form.mtime_at, time_bytes(times.write_ns)))
        self._set(token, handle, changes)

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits."""
        self._set(token, handle, [(binding.SET_MODE, self._volume.api.form.mode_at, NUMBER.pack(mode & 0o7777))])

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one alone."""
        form = self._volume.api.form
        wanted = (binding.SET_UID, form.uid_at, uid), (binding.SET_GID, form.gid_at, gid)
        self._set(token, handle, [(mask, at, NUMBER.pack(value)) for mask, at, value in wanted if value != -1])

    def _set(self, token: ImpersonationToken, handle: VfsHandle, changes: list[tuple[int, int, bytes]]) -> None:
        if changes:
            self._ask(token, handle, self._set_some, changes)

    def _set_some(self, opened: Opened, changes: list[tuple[int, int, bytes]]) -> None:
        self._volume.watching.touch(opened.number)
        api = self._volume.api
        status = api.ffi.new("struct stat *")
        raw = api.ffi.buffer(status)
        valid = 0
        for mask, at, value in changes:
            valid |= mask
            raw[at : at + len(value)] = value
        if api.lib.glfs_h_setattrs(self._volume.fs, opened.object, status, valid):
            raise self._volume.failure()

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute."""
        return self._ask(token, handle, self._read_value, _attribute(name))

    def _read_value(self, opened: Opened, name: Any) -> bytes:
        return self._volume.value(opened.object, name)

    def getxattrs_in(
        self, token: ImpersonationToken, directory: VfsHandle, entries: Sequence[str], names: Sequence[str]
    ) -> list[EntryXattrs]:
        """The extended attributes of many entries, on a few threads, each of which asks for one after the other."""
        wanted = tuple(map(_attribute_or_error, names))
        raw = list(map(encode_name, entries))
        share = max(-(-len(raw) // _AT_ONCE), _FEW)
        parts = [(raw[begin : begin + share], wanted) for begin in range(0, len(raw), share)]
        return list(chain.from_iterable(self._ask_each(token, directory, self._read_entries, parts)))

    def _read_entries(self, folder: Opened, entries: list[bytes], wanted: tuple[bytes | int, ...]) -> list[EntryXattrs]:
        if not folder.is_directory:
            return [EntryXattrs((), (errno.ENOTDIR,) * len(wanted))] * len(entries)
        reader = EntryReader(self._volume, folder.object, folder.listed, wanted)
        return [reader.of_entry(entry) for entry in entries]

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute."""
        raw = _attribute(name)
        # What is larger than Linux takes would break the connection to the brick.
        if len(value) > LARGEST_VALUE:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG), name)
        self._ask(token, handle, self._write_value, raw, value)

    def _write_value(self, opened: Opened, name: bytes, value: bytes) -> None:
        self._volume.watching.touch(opened.number)
        lib = self._volume.api.lib
        if lib.glfs_h_setxattrs(self._volume.fs, opened.object, name, value, len(value), 0):
            raise self._volume.failure()

    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute."""
        self._ask(token, handle, self._remove_value, _attribute(name))

    def _remove_value(self, opened: Opened, name: bytes) -> None:
        self._volume.watching.touch(opened.number)
        if self._volume.api.lib.glfs_h_removexattrs(self._volume.fs, opened.object, name):
            raise self._volume.failure()

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The names of the extended attributes, without those that GlusterFS keeps for itself."""
        names = self._ask(token, handle, self._read_value, self._volume.api.ffi.NULL)
        return [decode_name(name) for name in names.split(b"\0") if name and not name.startswith(_RAW_HIDDEN)]


_RAW_HIDDEN = tuple(prefix.encode() for prefix in _HIDDEN)


def _attribute(name: str) -> bytes:
    """The name of an attribute, in a namespace where GlusterFS does nothing but keep it; ENOTSUP for any other."""
    raw = encode_name(name)
    if not name.startswith(_NAMESPACES) or name.startswith("trusted.glusterfs."):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), name)
    if len(raw) > _LONGEST_NAME:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE), name)
    if raw.endswith(b"."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    return raw


def _attribute_or_error(name: str) -> bytes | int:
    try:
        return _attribute(name)
    except OSError as error:
        return error.errno or errno.ENOTSUP
