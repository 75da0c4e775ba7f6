"""The backend for folders of this machine, on the impersonating system calls.

On a local file system metadata calls run where they stand, on the loop's thread: a cached answer comes back sooner than
a thread could be woken. Data is read with RWF_NOWAIT first and by a worker thread when it is not in memory; large or
synchronous writes and fsync go to a worker thread. On network file systems everything does. The option `offload`
changes that.
"""

import errno
import os
from collections.abc import Callable
from typing import Any, ClassVar

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Capability, Operation
from lamina.vfs_modules.stock.posix.attributes import PosixAttributes
from lamina.vfs_modules.stock.posix.data import PosixData
from lamina.vfs_modules.stock.posix.directories import PosixDirectories
from lamina.vfs_modules.stock.posix.file import PosixOptions
from lamina.vfs_modules.stock.posix.names import PosixNames
from lamina.vfs_modules.stock.posix.outside import PosixOutside, beside_others, outside_capabilities
from lamina.vfs_modules.stock.posix.quotas import PosixQuotas, quota_capabilities
from lamina.vfs_modules.stock.posix.ranges import WAITS_BY_ITSELF, PosixRanges, range_capabilities
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

__all__ = ["PosixBackend", "PosixOptions"]

# These decide for themselves, call by call, or never wait.
_NEVER_WRAPPED = WAITS_BY_ITSELF | frozenset(
    {"pread", "pwrite", "fsync", "readdir", "watch", "watch_changes", "close", "get_dos_attributes", "get_security"}
    | {"set_lease"}
)


class PosixBackend(PosixNames, PosixDirectories, PosixData, PosixAttributes, PosixRanges, PosixOutside, PosixQuotas):
    """A folder of this machine's file systems, put together from the groups of the contract."""

    name: ClassVar[str] = "posix"
    kernel_files: ClassVar[bool] = True

    options: PosixOptions

    def connect(self, share: ShareInfo) -> None:
        """Open the share's folder."""
        self._root = syscalls.open_directory(SERVER_TOKEN, share.path)
        self._follows = share.follow_symlinks

    def disconnect(self) -> None:
        """Close the folder and the watches."""
        self._notifier.close()
        root, self._root = self._root, -1
        os.close(root)

    def one_process(self) -> str:
        """All that it keeps is in the files. A lease is broken by any other open, of whichever process."""
        return ""

    def capabilities(self, below: Capability) -> Capability:
        """What the file system of the folder has."""
        ranges = range_capabilities(self._root)
        self._compresses = Capability.COMPRESSION in ranges
        found = (
            Capability.CASE_SENSITIVE
            | Capability.HARD_LINKS
            | Capability.SYMLINKS
            | Capability.WATCH
            | Capability.WATCH_CHANGES
            | Capability.DURABLE_HANDLES
            | ranges
            | quota_capabilities(self._root)
            | outside_capabilities(self.options, not syscalls.is_network(self._root))
        )
        if syscalls.fstatx(self._root).btime_ns is not None:
            found |= Capability.CREATION_TIME
        return found | Capability.XATTRS if self._has_xattrs() else found

    def _has_xattrs(self) -> bool:
        try:
            syscalls.getxattr(SERVER_TOKEN, self._root, "user.lamina.probe", True)
        except OSError as error:
            return error.errno == errno.ENODATA
        return True

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Where metadata may have to wait, let a worker thread ask for it; and respect local programs if asked to."""
        if self._metadata_waits is None:
            self._metadata_waits = self._must_metadata_wait()
        waits = self._metadata_waits
        if waits and operation.name not in _NEVER_WRAPPED:
            call = _offloaded(call)
        return beside_others(self.options, operation.name, call, waits)

    def _must_metadata_wait(self) -> bool:
        if self.options.offload != "auto" or self.share is None:
            return self.options.offload == "always"
        try:
            fd = syscalls.open_directory(SERVER_TOKEN, self.share.path)
        except OSError:
            return False  # connect will say what is wrong with the folder
        try:
            return syscalls.is_network(fd)
        finally:
            os.close(fd)


def _offloaded(call: Callable[..., Any]) -> Callable[..., Any]:
    def offloaded(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
        return offload(token, lambda: call(token, *arguments, **keywords))

    return offloaded
