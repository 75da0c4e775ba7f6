"""Directories: what is in one, and what happens in it."""

from collections.abc import Iterator

from lamina.vfs_modules.changes import ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import DirectoryEntry, Watch
from lamina.vfs_modules.token import ImpersonationToken


class Directories:
    """The operations that list and watch a directory."""

    @operation(Target.HANDLE)
    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """List a directory from its beginning, without "." and "..", in no order.

        Arguments: `handle` of a directory, open for READ; `with_attributes`: entries are to carry `stat` and `dos`
          where that is cheaper than asking later.
        Answer: an iterator that reads as it is asked, and may be left before its end (`close()` of a generator). What
          comes or goes meanwhile may be missing or not; everything else is there once.
        Errors: ENOTDIR, EACCES, EIO; the iterator may raise them later.
        Waits: also in each step of the iteration, where the storage is remote.
        Overlaps: with everything but another iteration of the same handle, which begins after it.
        May assume: the client may list the directory.
        Default: ENOTSUP; a backend must implement it.
        """
        unsupported("readdir")

    @operation(Target.HANDLE, waits=False)
    def watch(self, token: ImpersonationToken, handle: VfsHandle) -> Watch:
        """Watch a directory for names that come and go, whoever does it (WATCH).

        Arguments: `handle` of a directory.
        Answer: the watch, whose `poll` tells of everything that happens after this has returned.
        Errors: ENOSPC, EMFILE or ENOMEM where a limit is reached.
        Waits: never, nor does the watch.
        Overlaps: with everything; a handle may be watched more than once.
        May assume: the server itself asks, to keep what it remembers of names true; clients are not told.
        Default: ENOTSUP; the server then reads the directory again and again.
        """
        unsupported("watch")

    @operation(Target.HANDLE)
    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """Watch a directory, or the tree beneath it, for what others do in it (WATCH_CHANGES).

        `lamina.vfs_modules.changes` says what of that this chain's own changes are.

        Arguments: `handle` of a directory; `query`: what is to be told, whom to wake for it, and what to leave out.
        Answer: the watch: what happens after this has returned is told, as far as `token` may list it.
        Errors: ENOSPC, EMFILE or ENOMEM where a limit is reached.
        Waits: while a large tree is walked; the watch itself never does.
        Overlaps: with everything; a handle may be watched more than once.
        May assume: the client may list the directory.
        Default: ENOTSUP; clients then learn of what is done through the share alone.
        """
        unsupported("watch_changes")
