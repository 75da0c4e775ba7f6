"""Attributes: what is known of a file and of the file system that it is on."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import DosAttributes, FileStat, Times, VolumeStatistics
from lamina.vfs_modules.token import ImpersonationToken


class Attributes:
    """The operations on sizes, times, mode, owner and what NT keeps beside them."""

    @operation(Target.SHARE)
    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """Sizes of the file system that a handle is on.

        Arguments: `handle` of anything.
        Answer: sizes in bytes; `available` is what is left for `token`.
        Errors: EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: it is asked often: clients look at the free space before they copy.
        Default: ENOTSUP.
        """
        unsupported("statfs")

    @operation(Target.HANDLE)
    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle.

        Arguments: `handle` of anything, for whatever access.
        Answer: the stat, with what has been written through any handle of the chain.
        Errors: EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the name may have gone; the file has not. Called for nearly every request that is not a read or
          write.
        Default: ENOTSUP; a backend must implement it.
        """
        unsupported("fstat")

    @operation(Target.HANDLE, mutates=True)
    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set times of a file.

        Arguments: `handle` of anything, for whatever access; `times`: None leaves one alone.
        Errors: EACCES, EROFS, EIO; a time that the storage cannot keep is left out without an error.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the client may write attributes.
        Default: ENOTSUP.
        """
        unsupported("set_times")

    @operation(Target.HANDLE, mutates=True)
    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits.

        Arguments: `handle` of anything, for whatever access; `mode`: the lower twelve bits.
        Errors: EPERM where `token` is not the owner, EROFS, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the client may change the descriptor, or a stored one is being mapped.
        Default: ENOTSUP.
        """
        unsupported("fchmod")

    @operation(Target.HANDLE, mutates=True)
    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group.

        Arguments: `handle` of anything, for whatever access; `uid`, `gid`: numbers, -1 leaves one alone.
        Errors: EPERM where `token` may not give the file away, EROFS, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: the client may take or give ownership.
        Default: ENOTSUP.
        """
        unsupported("fchown")

    @operation(Target.HANDLE)
    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """What NT keeps of a file beside POSIX (DOS_ATTRIBUTES).

        Arguments: `handle` of anything, for whatever access; `stat`: one of it that the caller has.
        Answer: the stored bits and times; where nothing is stored, no bits and the birth time of `stat`.
        Errors: EIO; that nothing is stored is none.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: called for each open and each query: it must be cheap.
        Default: none stored, birth time from `stat`.
        """
        return DosAttributes(0, stat.btime_ns)

    @operation(Target.HANDLE, mutates=True)
    def set_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, dos: DosAttributes) -> None:
        """Store the NT attributes, all at once.

        Arguments: `handle` of anything, for whatever access; `dos`: the bits and times to keep from now on.
        Errors: ENOTSUP, EACCES, EROFS, ENOSPC, EDQUOT, EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`; the last one counts.
        May assume: the client may write attributes.
        Default: ENOTSUP; ntfsa then keeps what POSIX can express.
        """
        unsupported("set_dos_attributes")
