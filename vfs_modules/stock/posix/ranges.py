"""What `posix` does with ranges of a file's data: copies within the kernel, shared blocks, holes; and compression.

Copies are made by worker threads, as they may move a lot of data; the rest is work on the file's map and quick.
"""

import errno
import os

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

WAITS_BY_ITSELF = frozenset({"copy_range", "clone_range", "zero_range"})
"""Operations that go to a worker thread where they may have to wait, and are not to be sent there once more."""

_FEW = 64  # ranges that are looked for on the loop's thread, at some microseconds each


def range_capabilities(root: int) -> Capability:
    """What the file system of the folder `root` (a descriptor) has of this, found out by trying it."""
    found = syscalls.probe_features(SERVER_TOKEN, root)
    capabilities = Capability.SPARSE if found.holes else Capability(0)
    capabilities |= Capability.REFLINK if found.clones else Capability(0)
    return capabilities | Capability.COMPRESSION if found.compression else capabilities


class PosixRanges(Backend):
    """The part of `posix` that handles ranges. `handle.private` is a `PosixFile`.

    `_compresses`: the file system does. Others take the flag, and keep it without any effect.
    """

    _compresses = False

    def copy_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> int:
        """Copy with copy_file_range, which shares blocks where it can."""
        arguments = (source.fd, source_offset, target.fd, target_offset, length)
        if target.private.waits or source.private.waits:
            return offload(token, syscalls.copy_range, *arguments)
        return syscalls.copy_range(*arguments)

    def clone_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> None:
        """Share blocks."""
        arguments = (source.fd, source_offset, target.fd, target_offset, length)
        if target.private.waits or source.private.waits:
            offload(token, syscalls.clone_range, *arguments)
        else:
            syscalls.clone_range(*arguments)

    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """Punch a hole, or zero what is there."""
        if handle.private.waits:
            offload(token, syscalls.zero_range, handle.fd, offset, length, deallocate)
        else:
            syscalls.zero_range(handle.fd, offset, length, deallocate)

    def allocated_ranges(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        """Look for data and holes."""
        if handle.private.waits and limit > _FEW and not handle.private.by_path:
            return offload(token, syscalls.data_ranges, handle.fd, offset, length, limit)
        if not handle.private.by_path:
            return syscalls.data_ranges(handle.fd, offset, length, limit)
        fd = syscalls.reopen(token, handle.fd, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return syscalls.data_ranges(fd, offset, length, limit)
        finally:
            os.close(fd)

    def set_compressed(self, token: ImpersonationToken, handle: VfsHandle, compressed: bool) -> None:
        """Set the flag that lsattr shows as "c"."""
        if not self._compresses:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        try:
            syscalls.set_compressed(token, handle.fd, compressed, handle.private.by_path)
        except OSError as error:
            if error.errno != errno.ENOTTY:
                raise
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP)) from error
