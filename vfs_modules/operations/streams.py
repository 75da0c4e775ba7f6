"""Streams: named data beside that of a file or directory."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import OpenHow, StreamEntry
from lamina.vfs_modules.token import ImpersonationToken


class Streams:
    """The operations on named streams, by the handle of what they belong to."""

    @operation(Target.HANDLE, mutates=True)
    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open or create a named stream of the file or directory of `handle`, which stays open as long as the stream.

        `name` has no ":" and no type, and is exact: ntfsa looks for other cases. Of `how` count access, create and
        exclusive; ENOENT, EEXIST, ENAMETOOLONG. The handle is one for `pread`, `pwrite`, `ftruncate`, `fallocate`,
        `fsync`, `fstat` (of which only size and allocated are used) and `close`; everything else of a stream is its
        file's. What is beyond the old end of a stream reads as zeros. Default: ENOTSUP.
        """
        unsupported("open_stream")

    @operation(Target.HANDLE)
    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The named streams of a file or directory, in no order. Default: none."""
        return []

    @operation(Target.HANDLE, mutates=True)
    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a named stream; ENOENT where there is none. Nobody uses handles of it afterwards. Default: ENOTSUP."""
        unsupported("remove_stream")

    @operation(Target.HANDLE, mutates=True)
    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Give a stream another name; without `replace` an existing target is EEXIST and untouched.

        Handles of it are given back and opened anew by the caller. Default: ENOTSUP.
        """
        unsupported("rename_stream")
