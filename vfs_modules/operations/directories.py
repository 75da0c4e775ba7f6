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
        """The entries of a directory from its beginning, without "." and "..", in no order, read as they are asked for.

        With `with_attributes` entries carry `stat` and `dos` where that is cheaper than asking later. One iteration
        at a time per handle. A backend must implement it.
        """
        unsupported("readdir")

    @operation(Target.HANDLE, waits=False)
    def watch(self, token: ImpersonationToken, handle: VfsHandle) -> Watch:
        """Watch a directory for names that come and go, whoever does it. Default: ENOTSUP."""
        unsupported("watch")

    @operation(Target.HANDLE)
    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """Watch a directory, or the tree beneath it, for what others do in it, as far as `token` may list it.

        What happens after this has returned is told; `lamina.vfs_modules.changes` says what of that this chain's own
        changes are. ENOSPC, EMFILE or ENOMEM where a limit is reached. Default: ENOTSUP.
        """
        unsupported("watch_changes")
