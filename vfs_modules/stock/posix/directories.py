"""How `posix` lists directories, and learns of what happens in them."""

import os
from collections.abc import Iterator
from itertools import islice

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.engine import breathe, offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import DirectoryEntry, Watch
from lamina.vfs_modules.stock.posix.file import PosixShare
from lamina.vfs_modules.token import ImpersonationToken

_READDIR_BATCH = 512


class PosixDirectories(PosixShare):
    """The part of `posix` that handles directories."""

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory, from a descriptor of its own."""
        entries = self._entries(token, handle.fd, with_attributes)
        return _in_batches(token, entries) if self._metadata_waits else entries

    def _entries(self, token: ImpersonationToken, directory: int, with_attributes: bool) -> Iterator[DirectoryEntry]:
        fd = syscalls.open_component(token, directory, b".", os.O_RDONLY | os.O_DIRECTORY, 0)
        if self._quiet:
            syscalls.keep_access_time(fd)
        try:
            if with_attributes:
                yield from syscalls.list_entries(token, fd)
            else:
                yield from map(DirectoryEntry, syscalls.list_names(token, fd))
        finally:
            os.close(fd)

    def watch(self, token: ImpersonationToken, handle: VfsHandle) -> Watch:
        """Watch a directory with inotify."""
        return self._notifier.watch(token, handle.fd)

    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """Watch a directory or a tree with inotify."""
        watch = self._notifier.watch_changes(token, handle.fd, query)
        try:
            while watch.grow():
                breathe()
        except BaseException:
            watch.close()
            raise
        return watch


def _in_batches(token: ImpersonationToken, entries: Iterator[DirectoryEntry]) -> Iterator[DirectoryEntry]:
    while True:
        batch = offload(token, lambda: list(islice(entries, _READDIR_BATCH)))
        if not batch:
            return
        yield from batch
