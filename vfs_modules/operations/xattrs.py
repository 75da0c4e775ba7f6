"""Extended attributes: named values that belong to a file, by their full names."""

from collections.abc import Sequence

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.one_by_one import xattrs_one_by_one
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import EntryXattrs
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

    @operation(Target.HANDLE, instead_of=("open", "close", "getxattr", "listxattr"))
    def getxattrs_in(
        self, token: ImpersonationToken, directory: VfsHandle, entries: Sequence[str], names: Sequence[str]
    ) -> list[EntryXattrs]:
        """The extended attributes of many entries of a directory: what a listing asks for, in one go.

        Arguments: `directory`: handle of one, for whatever access; `entries`: names of what is in it, of symbolic links
          themselves, a few hundred at most; `names`: full ones of attributes whose values are wanted, or none.
        Answer: for each entry, in the order of `entries`, what it has. Whatever is wrong with one of them is said in
          its place.
        Errors: EIO and the like, where not only one of them is concerned.
        Waits: where the storage is remote, once for many entries if it can.
        Overlaps: with everything but `close`; an entry that changes meanwhile is told as it was or as it is.
        May assume: names of the server's own are asked with its own token. An attribute that `listxattr` would not tell
          of need not be looked for.
        Default: `open`, `listxattr`, `getxattr` and `close` for each entry.
        """
        return xattrs_one_by_one(self, token, directory, entries, names)
