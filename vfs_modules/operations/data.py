"""Data: a file's bytes, its end, and when they are safe."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.token import ImpersonationToken


class Data:
    """The operations on the bytes of a file or a stream."""

    @operation(Target.HANDLE)
    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`.

        Arguments: `handle` open for READ; `buffer` of any size, to be filled from its beginning; `offset` in bytes from
          the beginning of the file, perhaps beyond its end.
        Answer: the bytes read; fewer than `buffer` holds only at the end of the file.
        Errors: EIO and what else the storage says; EISDIR for a directory; EAGAIN where a local program has locked the
          range.
        Waits: for what is not in memory.
        Overlaps: with everything but `close`.
        May assume: access has been checked at the open, and ranges that other clients have locked: no credentials are
          needed. The hottest of all operations.
        Default: ENOTSUP; a backend must implement it.
        """
        unsupported("pread")

    @operation(Target.HANDLE, mutates=True)
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data` at `offset`; a gap between the end of the file and `offset` reads as zeros.

        Arguments: `handle` open for WRITE; `data`, which is the caller's again when this returns: copy what is to be
          kept; `offset` in bytes.
        Answer: the bytes written: all of them, never fewer.
        Errors: ENOSPC, EDQUOT, EFBIG, EIO, raised also where a part was written; EAGAIN where a local program has
          locked the range.
        Waits: for large writes and slow storage.
        Overlaps: with everything but `close`; writes to one range are not ordered by the caller.
        May assume: access and locked ranges have been checked. That it is on stable storage is only asked by `fsync`.
        Default: ENOTSUP.
        """
        unsupported("pwrite")

    @operation(Target.HANDLE)
    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Return when everything written through this handle is on stable storage.

        Arguments: `handle` of a file or directory, for whatever access; `data_only`: attributes that are not needed to
          read it back may come later.
        Errors: EIO, ENOSPC, EDQUOT: something that `pwrite` took has been lost.
        Waits: as long as the storage takes.
        Overlaps: with everything but `close`; what is written meanwhile may or may not be safe.
        May assume: clients take its success as a promise.
        Default: ENOTSUP.
        """
        unsupported("fsync")

    @operation(Target.HANDLE, mutates=True)
    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file; new bytes read as zeros.

        Arguments: `handle` open for WRITE; `length` in bytes.
        Errors: ENOSPC, EDQUOT, EFBIG, EIO; EINVAL for a length that the storage cannot have.
        Waits: where the storage is remote, or much is to be freed.
        Overlaps: with everything but `close`; with reads and writes in any order.
        May assume: access and locked ranges have been checked.
        Default: ENOTSUP.
        """
        unsupported("ftruncate")

    @operation(Target.HANDLE, mutates=True)
    def fallocate(self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int) -> None:
        """Reserve space for a range, without changing the end of file or what is read.

        Arguments: `handle` open for WRITE; `offset`, `length` in bytes, perhaps beyond the end of file.
        Errors: ENOSPC, EDQUOT, EFBIG, EIO; ENOTSUP, which callers may ignore.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: access has been checked.
        Default: ENOTSUP; callers do without.
        """
        unsupported("fallocate")
