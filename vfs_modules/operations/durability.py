"""Handles that outlive their client's connection, and records of opens that outlive the server."""

from collections.abc import Iterator

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import OpenHow
from lamina.vfs_modules.token import ImpersonationToken


class Durability:
    """The operations on handles whose clients may come back."""

    @operation(Target.HANDLE)
    def durable_cookie(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        """What finds the file of a handle again when the handle is gone.

        Arguments: `handle` of a file.
        Answer: bytes that only this chain must understand, and understands after a restart, too.
        Errors: ENOTSUP where a file cannot be found again; EIO.
        Waits: where the storage is remote.
        Overlaps: with everything but `close`.
        May assume: asked only where the chain claims PERSISTENT_HANDLES.
        Default: ENOTSUP.
        """
        unsupported("durable_cookie")

    @operation(Target.HANDLE)
    def durable_disconnect(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """The client of a handle is gone, and may come back.

        The handle stays open: what the open holds is held, others may break it, and it is closed when its time is over.

        Arguments: `handle` of a file.
        Errors: any: the open is then closed rather than kept.
        Waits: where the storage is remote.
        Overlaps: with requests of the lost connection that have not ended.
        May assume: asked only where the chain claims DURABLE_HANDLES.
        Default: nothing.
        """

    @operation(Target.HANDLE)
    def durable_reconnect(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """The client of a handle is back.

        Arguments: `handle`, for which `durable_disconnect` was called.
        Errors: any: the client does not get the open back, which is closed.
        Waits: where the storage is remote.
        Overlaps: with nothing on this handle but what was overlapping when it was lost.
        May assume: `token` is that of the same user, perhaps another than before.
        Default: nothing.
        """

    @operation(Target.HANDLE)
    def durable_upgrade(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """A new open is to become persistent: get ready to find its file again, whatever happens.

        Arguments: `handle` of a file.
        Errors: any: the open stays durable.
        Waits: where the storage is remote.
        Overlaps: with nothing on this handle.
        May assume: asked only where the chain claims PERSISTENT_HANDLES.
        Default: nothing.
        """

    @operation(Target.PATH)
    def durable_open(self, token: ImpersonationToken, directory: VfsHandle, cookie: bytes, how: OpenHow) -> VfsHandle:
        """Open the file that a cookie stands for, after a restart.

        Arguments: `directory`: the share's root; `cookie` as `durable_cookie` made it; `how`: nothing is created.
        Answer: a handle of its own of the very file, wherever it has been moved to.
        Errors: ESTALE where the file is not there any more, or is another; EINVAL for a cookie of somebody else's;
          what `open` may raise.
        Waits: where the storage is remote.
        Overlaps: with everything.
        May assume: that the user may have the file open was decided when the cookie was made.
        Default: ENOTSUP.
        """
        unsupported("durable_open")

    @operation(Target.SHARE)
    def save_open(self, token: ImpersonationToken, open_id: int, record: bytes) -> None:
        """Keep the record of an open, in the place of one that was kept before.

        Arguments: `open_id`: 64 bits, unique in the share; `record`: its meaning is ntfsa's.
        Errors: ENOSPC, EIO: the client is not told of what is not kept.
        Waits: for the storage: the record is on stable storage when this returns.
        Overlaps: with everything, also with records of other opens, which may go to the storage together.
        May assume: asked only where the chain claims PERSISTENT_HANDLES.
        Default: ENOTSUP.
        """
        unsupported("save_open")

    @operation(Target.SHARE)
    def forget_open(self, token: ImpersonationToken, open_id: int) -> None:
        """Forget the record of an open; nothing happens where there is none.

        Arguments: `open_id` as of `save_open`.
        Errors: EIO.
        Waits: for the storage; that it is forgotten need not be stable yet.
        Overlaps: with everything.
        May assume: the open is closed, or will be before anybody is told of it.
        Default: nothing.
        """

    @operation(Target.SHARE)
    def load_opens(self, token: ImpersonationToken) -> Iterator[tuple[int, bytes]]:
        """All records that are kept, when a share is connected.

        Arguments: none but the token.
        Answer: `open_id` and record of each, in any order.
        Errors: EIO, EBADMSG where the store is torn or somebody else's: the share is then not served.
        Waits: for the storage.
        Overlaps: with nothing: nobody has anything open yet.
        May assume: the module is connected.
        Default: none.
        """
        return iter(())
