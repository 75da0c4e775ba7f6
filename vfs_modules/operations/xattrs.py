"""Extended attributes: named values that belong to a file, by their full names."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.token import ImpersonationToken


class Xattrs:
    """The operations on extended attributes."""

    @operation(Target.HANDLE)
    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute (XATTRS).

        Arguments: `handle` of anything, for whatever access; `name`: the full one, "user.x".
        Answer: the value.
        Errors: ENODATA where there is none; EACCES, EPERM, ENOTSUP for a namespace that the storage does not have, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: names of the server's own are asked with its own token.
        Default: ENOTSUP.
        """
        unsupported("getxattr")

    @operation(Target.HANDLE, mutates=True)
    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute.

        Arguments: `handle`, `name` as for `getxattr`; `value`: of any length the storage takes.
        Errors: ENOSPC, E2BIG, ERANGE or EDQUOT for one that is too large; EACCES, EPERM, ENOTSUP, EROFS, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`; a reader finds the old value or the new one, whole.
        May assume: the client may write extended attributes.
        Default: ENOTSUP.
        """
        unsupported("setxattr")

    @operation(Target.HANDLE, mutates=True)
    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute.

        Arguments: `handle`, `name` as for `getxattr`.
        Errors: ENODATA where there is none; EACCES, EPERM, ENOTSUP, EROFS, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the client may write extended attributes.
        Default: ENOTSUP.
        """
        unsupported("removexattr")

    @operation(Target.HANDLE)
    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The extended attributes of a file.

        Arguments: `handle` of anything, for whatever access.
        Answer: the full names of those that `token` may see, in no order.
        Errors: ENOTSUP, EACCES, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the client may read extended attributes; ntfsa leaves out the server's own.
        Default: ENOTSUP.
        """
        unsupported("listxattr")
