"""Security: the descriptor that says who may do what with a file."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import FileStat
from lamina.vfs_modules.token import ImpersonationToken


class Security:
    """The operations on stored security descriptors."""

    @operation(Target.HANDLE)
    def get_security(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> bytes | None:
        """The stored security descriptor (SECURITY).

        Arguments: `handle` of anything, for whatever access; `stat`: one of it that the caller has.
        Answer: self-relative (MS-DTYP 2.4.6), with owner, group, both lists; None where none is stored: ntfsa then
          makes one from `stat`.
        Errors: EIO; that none is stored is none, nor that one no longer holds.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the server itself asks, to check access: `token` need not have any right to it. Called for each
          open.
        Default: None.
        """
        return None

    @operation(Target.HANDLE, mutates=True)
    def set_security(self, token: ImpersonationToken, handle: VfsHandle, descriptor: bytes) -> None:
        """Store a security descriptor.

        Arguments: `handle` of anything, for whatever access; `descriptor`: a complete one, self-relative.
        Errors: ENOTSUP, EPERM, EROFS, ENOSPC, EDQUOT, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`; the last one counts.
        May assume: the client may change it, and its parts have been put together with those that stay.
        Default: ENOTSUP; ntfsa then maps it to the mode.
        """
        unsupported("set_security")
