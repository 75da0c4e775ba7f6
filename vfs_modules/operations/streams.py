"""Streams: named data beside that of a file or directory."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import OpenHow, StreamEntry
from lamina.vfs_modules.token import ImpersonationToken


class Streams:
    """The operations on named streams, by the handle of what they belong to."""

    @operation(Target.HANDLE, mutates=True)
    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open or create a named stream of a file or directory (STREAMS).

        The handle is one for `pread`, `pwrite`, `ftruncate`, `fallocate`, `zero_range`, `allocated_ranges`, `fsync`,
        `fstat` (of which only size and allocated are used) and `close`; everything else of a stream is its file's. What
        is beyond the old end of a stream reads as zeros.

        Arguments: `handle` of what it belongs to, for whatever access, which stays open as long as the stream; `name`:
          without ":" and type, exact, as ntfsa looks for other cases; of `how` count access, create and exclusive.
        Answer: a handle of its own, to be given back with `close`.
        Errors: ENOENT, EEXIST with `how.exclusive`, ENAMETOOLONG, EACCES, ENOSPC, EDQUOT, EROFS.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`; opens of one stream see what each other write.
        May assume: access has been checked by the descriptor of the file.
        Default: ENOTSUP.
        """
        unsupported("open_stream")

    @operation(Target.HANDLE)
    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The named streams of a file or directory.

        Arguments: `handle` of it, for whatever access.
        Answer: names and sizes in bytes, in no order, without the unnamed one.
        Errors: EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: asked also at opens of streams, to find a name in another case: it must be cheap where there are
          none.
        Default: none.
        """
        return []

    @operation(Target.HANDLE, mutates=True)
    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a named stream.

        Arguments: `handle` of its file; `name`: exact.
        Errors: ENOENT, EACCES, EROFS, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: nobody uses handles of the stream but to close them.
        Default: ENOTSUP.
        """
        unsupported("remove_stream")

    @operation(Target.HANDLE, mutates=True)
    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Give a stream another name.

        Arguments: `handle` of its file; `source`, `target`: exact names; `replace`: an existing target goes.
        Errors: EEXIST without `replace`, and then the target is untouched; ENOENT, ENAMETOOLONG, EACCES, ENOSPC, EROFS.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: handles of the stream are given back and opened anew by the caller.
        Default: ENOTSUP.
        """
        unsupported("rename_stream")
