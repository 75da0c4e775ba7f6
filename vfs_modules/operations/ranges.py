"""Ranges: what reaches a file's data past `pread` and `pwrite`, and how data is kept."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.token import ImpersonationToken


class Ranges:
    """The operations on ranges of data that need not pass through the server."""

    @operation(Target.HANDLE, mutates=True, around_data=True)
    def copy_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> int:
        """Copy bytes between two files of this chain, which may be one, without moving them through the server.

        The bytes copied: fewer only at the end of the source. Ranges of one file that overlap are EINVAL. ENOTSUP where
        the two cannot be joined so: the caller then reads and writes. Default: ENOTSUP.
        """
        unsupported("copy_range")

    @operation(Target.HANDLE, mutates=True, around_data=True)
    def clone_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> None:
        """Let a range of `target` share the blocks of one of `source` until either is written to (REFLINK).

        EINVAL for ranges that are not whole blocks (but at the end of the source), that lie beyond its end, or that
        overlap in one file; EXDEV between file systems. Default: ENOTSUP.
        """
        unsupported("clone_range")

    @operation(Target.HANDLE, mutates=True, around_data=True)
    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """Let a range read as zeros, without changing the end of file.

        `deallocate`: give back the space it takes (SPARSE), else keep it reserved. Default: ENOTSUP: the caller then
        writes zeros.
        """
        unsupported("zero_range")

    @operation(Target.HANDLE, around_data=True)
    def allocated_ranges(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        """The parts of a range that are not holes, as (offset, length) in order, at most `limit` of them.

        Nothing beyond the end of file is. Default: ENOTSUP: the caller then takes all of it for allocated.
        """
        unsupported("allocated_ranges")

    @operation(Target.HANDLE, mutates=True)
    def set_compressed(self, token: ImpersonationToken, handle: VfsHandle, compressed: bool) -> None:
        """Have a file's data, or that of new files in a directory, kept compressed (COMPRESSION). Default: ENOTSUP."""
        unsupported("set_compressed")
