"""How the backend lists folders: many entries at a time, each with its attributes."""

import errno
import os
from collections.abc import Iterator
from typing import Any, Final

from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import decode_name
from lamina.vfs_modules.operations import DirectoryEntry, FileStat
from lamina.vfs_modules.token import ImpersonationToken

from lamina_glusterfs.binding import WITH_HANDLE, WITH_STAT, file_stat
from lamina_glusterfs.opened import Opened
from lamina_glusterfs.share import GlusterShare
from lamina_glusterfs.watching import Watch

_BATCH: Final = 512
_SELF = (b".", b"..")


class GlusterDirectories(GlusterShare):
    """The part of the backend that lists folders."""

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a folder, from a descriptor of its own."""
        if not handle.is_directory:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return self._entries(token, handle.private, with_attributes)

    def _entries(self, token: ImpersonationToken, folder: Opened, with_attributes: bool) -> Iterator[DirectoryEntry]:
        lib = self._volume.api.lib
        descriptor = self._call(token, self._open_list, folder, late=lib.glfs_closedir)
        whole = True
        read = self._batch if with_attributes else self._batch_of_names
        try:
            more = True
            while more:
                whole = False
                batch, more = self._call(token, read, descriptor, folder)
                whole = True
                yield from batch
        finally:
            # One that somebody may still be reading from is left to the end of the process.
            if whole:
                lib.glfs_closedir(descriptor)

    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """Watch a folder or a tree for what other clients of the volume do."""
        if not self.options.upcalls:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        if not handle.is_directory:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        watch = Watch(self._volume.watching, token, query)
        try:
            self._ask(token, handle, self._begin_watch, watch)
        except BaseException:
            watch.close()
            raise
        return watch

    def _begin_watch(self, opened: Opened, watch: Watch) -> None:
        object_ = self._volume.api.lib.glfs_object_copy(opened.object)
        if object_ == self._volume.api.ffi.NULL:
            raise self._volume.failure()
        self._volume.watching.begin(watch, object_)

    def _open_list(self, folder: Opened) -> Any:
        with folder.in_use():
            descriptor = self._volume.api.lib.glfs_h_opendir(self._volume.fs, folder.object)
        if descriptor == self._volume.api.ffi.NULL:
            raise self._volume.failure()
        return descriptor

    def _batch_of_names(self, descriptor: Any, _: Opened) -> tuple[list[DirectoryEntry], bool]:
        api = self._volume.api
        status, entry = api.ffi.new("struct stat *"), api.ffi.new("struct dirent *")
        found, string = api.ffi.new("struct dirent **"), api.ffi.string
        batch: list[DirectoryEntry] = []
        for _number in range(_BATCH):
            if api.lib.glfs_readdirplus_r(descriptor, status, entry, found):
                raise self._volume.failure()
            if found[0] == api.ffi.NULL:
                return batch, False
            name = string(entry.d_name)
            if name not in _SELF:
                batch.append(DirectoryEntry(decode_name(name)))
        return batch, True

    def _batch(self, descriptor: Any, folder: Opened) -> tuple[list[DirectoryEntry], bool]:
        api, objects = self._volume.api, {}
        told, entry = api.ffi.new("glfs_xreaddirp_stat_t **"), api.ffi.new("struct dirent *")
        found, string = api.ffi.new("struct dirent **"), api.ffi.string
        batch: list[DirectoryEntry] = []
        try:
            for _number in range(_BATCH):
                flags = api.lib.glfs_xreaddirplus_r(descriptor, WITH_STAT | WITH_HANDLE, told, entry, found)
                if flags < 0:
                    raise self._volume.failure()
                if found[0] == api.ffi.NULL:
                    return batch, False
                name = string(entry.d_name)
                if name not in _SELF:
                    stat, object_ = self._taken(told[0], flags)
                    batch.append(DirectoryEntry(decode_name(name), stat))
                    if object_ is not None:
                        objects[name] = object_
                api.lib.glfs_free(told[0])
            return batch, True
        finally:
            if folder.listed is not None:
                folder.listed.keep(objects)

    def _taken(self, told: Any, flags: int) -> tuple[FileStat | None, Any]:
        """The status of an entry and an object of it, as far as the brick has told them.

        Of a file that is just going, or on a brick that is away, nothing is told.
        """
        api = self._volume.api
        if not flags & WITH_STAT:
            return None, None
        stat = file_stat(api.form, api.ffi.buffer(api.lib.glfs_xreaddirplus_get_stat(told)))
        if not stat.mode:
            return None, None
        object_ = api.lib.glfs_xreaddirplus_get_object(told) if flags & WITH_HANDLE else api.ffi.NULL
        copy = api.lib.glfs_object_copy(object_) if object_ != api.ffi.NULL else api.ffi.NULL
        return stat, None if copy == api.ffi.NULL else copy
