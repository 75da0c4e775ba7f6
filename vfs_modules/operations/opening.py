"""Opening and closing: from a name to a handle and back."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import OpenHow
from lamina.vfs_modules.token import ImpersonationToken


class Opening:
    """The operations that make handles and give them back; what a handle is for, `OpenHow` says."""

    @operation(Target.PATH)
    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root directory.

        Arguments: none but the token.
        Answer: a handle for `Access.PATH`, to be given back with `close`.
        Errors: EACCES; EIO or ENOENT where the storage behind the share has gone.
        Waits: where the storage is remote.
        Overlaps: with everything; each call makes a handle of its own.
        May assume: the module is connected.
        Default: ENOTSUP; a backend must implement it.
        """
        unsupported("open_root")

    @operation(Target.PATH, mutates=True)
    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names beneath `directory`.

        Never truncates, and never blocks on a FIFO or device: what is neither file, directory nor link is EACCES for
        data.

        Arguments: `directory` is open for PATH or more; `path` beneath it, "" is the directory itself; `how` says for
          what (see `OpenHow`).
        Answer: a handle of its own, to be given back with `close`.
        Errors: ENOENT; ENOTDIR for `how.directory`, or where a file stands in the way; EISDIR where data of a directory
          is to be written; EEXIST with `how.exclusive`; EACCES; ELOOP for a link that is not to be followed; EXDEV
          where a link leads out of the share; ENAMETOOLONG; ENOSPC; EDQUOT; EROFS; EMFILE.
        Waits: where the storage is remote, or somebody else must give the file up first.
        Overlaps: with everything, also with opens of the same name: `how.exclusive` lets one win.
        May assume: share modes and the descriptor have been checked by ntfsa; the storage's own permissions are this
          operation's to check, for `token`.
        Default: ENOTSUP; a backend must implement it.
        """
        unsupported("open")

    @operation(Target.HANDLE)
    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back.

        Arguments: `handle` is never used again, also when this raises.
        Errors: whatever was not reported before: EIO, ENOSPC, EDQUOT.
        Waits: where the storage is remote.
        Overlaps: with nothing on this handle: what is done with it has ended.
        May assume: it is called once for each handle, by whatever way its open ends; `token` may be another than that
          of the open.
        Default: ENOTSUP; a backend must implement it.
        """
        unsupported("close")
