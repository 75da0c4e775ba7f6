"""Opening and closing: from a name to a handle and back."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import OpenHow
from lamina.vfs_modules.token import ImpersonationToken


class Opening:
    """The operations that make handles and give them back; what a handle is for, `values.OpenHow` says."""

    @operation(Target.PATH)
    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root directory for PATH. Closed with `close`. A backend must implement it."""
        unsupported("open_root")

    @operation(Target.PATH, mutates=True)
    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names beneath `directory`; "" is the directory itself.

        Never truncates and never blocks on a FIFO or device. The kernel's permission check is made for `token`.
        May raise ENOENT, ENOTDIR, EISDIR, EEXIST, EACCES, ELOOP, EXDEV (a link leads out of the share), ENAMETOOLONG.
        A backend must implement it.
        """
        unsupported("open")

    @operation(Target.HANDLE)
    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back; it is never used again, also when this raises. A backend must implement it."""
        unsupported("close")
