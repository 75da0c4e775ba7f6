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

        Arguments: `source` open for READ, `target` for WRITE; offsets and `length` in bytes.
        Answer: the bytes copied; fewer only at the end of the source.
        Errors: EINVAL for ranges of one file that overlap; ENOTSUP or EXDEV where the two cannot be joined so: the
          caller then reads and writes; ENOSPC, EDQUOT, EFBIG, EIO.
        Waits: for large copies.
        Overlaps: with everything but `close` of either handle; copies of one range in any order.
        May assume: access and locked ranges of both have been checked. A request of more than the server's limit comes
          in parts.
        Default: ENOTSUP; the caller reads and writes.
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

        Arguments: `source` open for READ, `target` for WRITE; offsets and `length` in bytes.
        Errors: EINVAL for ranges that are not whole blocks (but at the end of the source), that lie beyond its end, or
          that overlap in one file; EXDEV between file systems; ENOTSUP, ENOSPC, EDQUOT, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close` of either handle.
        May assume: access and locked ranges of both have been checked.
        Default: ENOTSUP; clients are told that it is not done here.
        """
        unsupported("clone_range")

    @operation(Target.HANDLE, mutates=True, around_data=True)
    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """Let a range read as zeros, without changing the end of file.

        Arguments: `handle` open for WRITE; `offset`, `length` in bytes; `deallocate`: give back the space it takes
          (SPARSE), else keep it reserved.
        Errors: ENOTSUP: the caller then writes zeros; ENOSPC, EDQUOT, EIO.
        Waits: for large ranges.
        Overlaps: with everything but `close`.
        May assume: access and locked ranges have been checked.
        Default: ENOTSUP; the caller writes zeros.
        """
        unsupported("zero_range")

    @operation(Target.HANDLE, around_data=True)
    def allocated_ranges(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        """Find the parts of a range that are not holes (SPARSE).

        Arguments: `handle` of a file, for whatever access; `offset`, `length` in bytes; `limit`: how many parts at
          most, one or more.
        Answer: (offset, length) of each, in order, none empty, all within the range and before the end of file.
        Errors: ENOTSUP: the caller then takes all of it for allocated; EIO.
        Waits: for files of many parts.
        Overlaps: with everything but `close`.
        May assume: the client may read the file.
        Default: ENOTSUP; all of it counts as allocated.
        """
        unsupported("allocated_ranges")

    @operation(Target.HANDLE, mutates=True)
    def set_compressed(self, token: ImpersonationToken, handle: VfsHandle, compressed: bool) -> None:
        """Have a file's data, or that of new files in a directory, kept compressed (COMPRESSION).

        Arguments: `handle` of a file or directory; `compressed`: or not any more.
        Errors: ENOTSUP, EACCES, EROFS, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the client may write the file's data.
        Default: ENOTSUP.
        """
        unsupported("set_compressed")
