"""Attributes: what is known of a file and of the file system that it is on."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import DosAttributes, FileStat, Times, VolumeStatistics
from lamina.vfs_modules.token import ImpersonationToken


class Attributes:
    """The operations on sizes, times, mode, owner and what NT keeps beside them."""

    @operation(Target.SHARE)
    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes of the file system that `handle` is on. Default: ENOTSUP."""
        unsupported("statfs")

    @operation(Target.HANDLE)
    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle. A backend must implement it."""
        unsupported("fstat")

    @operation(Target.HANDLE, mutates=True)
    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set the times that are not None; one that the file system cannot keep is left out. Default: ENOTSUP."""
        unsupported("set_times")

    @operation(Target.HANDLE, mutates=True)
    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits. Default: ENOTSUP."""
        unsupported("fchmod")

    @operation(Target.HANDLE, mutates=True)
    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one alone. Default: ENOTSUP."""
        unsupported("fchown")

    @operation(Target.HANDLE)
    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """The NT attributes of a file whose `stat` the caller has. Default: none stored, birth time from `stat`."""
        return DosAttributes(0, stat.btime_ns)

    @operation(Target.HANDLE, mutates=True)
    def set_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, dos: DosAttributes) -> None:
        """Store the NT attributes, all at once. Default: ENOTSUP."""
        unsupported("set_dos_attributes")
