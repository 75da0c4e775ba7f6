"""Data: a file's bytes, its end, and when they are safe."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.token import ImpersonationToken


class Data:
    """The operations on the bytes of a file or a stream."""

    @operation(Target.HANDLE)
    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; the bytes read, fewer than asked only at the end of the file.

        Access has been checked at open: no credentials are needed. A backend must implement it.
        """
        unsupported("pread")

    @operation(Target.HANDLE, mutates=True)
    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data` at `offset` (not before the end of a gap); the bytes written, never fewer.

        ENOSPC, EDQUOT, EFBIG after part of it was written are raised. Default: ENOTSUP.
        """
        unsupported("pwrite")

    @operation(Target.HANDLE)
    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Return when everything written through this handle is on stable storage. Default: ENOTSUP."""
        unsupported("fsync")

    @operation(Target.HANDLE, mutates=True)
    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file; new bytes read as zeros. Default: ENOTSUP."""
        unsupported("ftruncate")

    @operation(Target.HANDLE, mutates=True)
    def fallocate(self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int) -> None:
        """Reserve space without changing the end of file. Default: ENOTSUP, which callers may ignore."""
        unsupported("fallocate")
