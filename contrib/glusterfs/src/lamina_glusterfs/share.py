"""What every part of the backend stands on: the volume, the share's root, and how the file of a handle is asked."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from lamina.vfs_modules.engine import current_task
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend, ShareInfo
from lamina.vfs_modules.operations import Access
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.workers import Workers

from lamina_glusterfs.opened import Opened
from lamina_glusterfs.options import GlusterOptions, folder_of
from lamina_glusterfs.volume import Volume
from lamina_glusterfs.walk import Walk

_T = TypeVar("_T")


class GlusterShare(Backend):
    """The part of the backend that the others stand on. `handle.private` is an `Opened`."""

    Options = GlusterOptions
    options: GlusterOptions
    _volume: Volume
    _root: Opened

    def connect(self, share: ShareInfo) -> None:
        """Connect to the volume, or share the connection that there is, and find the share's root."""
        if not self.options.volume:
            raise OSError(errno.EINVAL, "the option `volume` says which volume to serve, and is not given")
        self._links = share.follow_symlinks
        try:
            self._top = self.options.root or folder_of(share.path)
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from None
        connecting = Workers(1, "gluster-connect")
        try:
            self._volume = connecting.call(self.options.timeout, Volume.of, self.options)
        finally:
            connecting.close()
        self._root = self._call(SERVER_TOKEN, self._find_root)

    def disconnect(self) -> None:
        """Give the root back. The connection stays (`Volume.of`)."""
        self._root.close()

    def _find_root(self) -> Opened:
        api = self._volume.api
        top = api.lib.glfs_h_lookupat(self._volume.fs, api.ffi.NULL, b"/", api.ffi.new("struct stat *"), 0)
        if top == api.ffi.NULL:
            raise self._volume.failure()
        whole = Opened(self._volume, top, None, Access.PATH, True)
        try:
            with Walk(self._volume, top, top, os.fsencode(self._top)) as walk:
                found = walk.end(follow=True)
                if found.stat is None:
                    raise OSError(errno.ENOENT, "the volume has no such folder", self._top)
                if found.stat.mode & 0o170000 != 0o040000:
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self._top)
                return Opened(self._volume, walk.keep(found.object), None, Access.PATH, True)
        finally:
            whole.close()

    def _call(
        self,
        token: ImpersonationToken,
        function: Callable[..., _T],
        *arguments: Any,
        late: Callable[[_T], object] | None = None,
    ) -> _T:
        """Ask the volume something, as `token`; see `Volume.call`."""
        with self._telling_health():
            result: _T = self._volume.call(token, self.options.timeout, function, *arguments, late=late)
        return result

    @contextmanager
    def _telling_health(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._tell_health()

    def _tell_health(self) -> None:
        if self._volume.patience.is_over:
            self.health.degraded(f"bricks of the volume {self._volume.name!r} are away")
        else:
            self.health.ok()

    def _ask(self, token: ImpersonationToken, handle: VfsHandle, function: Callable[..., _T], *arguments: Any) -> _T:
        """`function(opened, …)` as `token`, where `opened` is that of the handle, and stays open meanwhile."""
        result: _T = self._call(token, _with, handle.private, function, arguments)
        return result

    def _ask_each(
        self,
        token: ImpersonationToken,
        handle: VfsHandle,
        function: Callable[..., _T],
        several: Sequence[tuple[Any, ...]],
    ) -> list[_T]:
        """As `_ask` for each of several arguments, at the same time on several threads: the results in order."""
        told = [(handle.private, function, arguments) for arguments in several]
        with self._telling_health():
            results: list[_T] = self._volume.call_each(token, self.options.timeout, _with, told)
        return results

    def _walk(self, start: Opened, path: bytes) -> Walk:
        return Walk(self._volume, self._root.object, start.object, path, self._links)


def _with(opened: Opened, function: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
    with opened.in_use():
        opened.reopen()
        try:
            return function(opened, *arguments)
        except OSError as error:
            # A brick that was away does not know any more what was open.
            opened.stale = error.errno == errno.EBADF and opened.descriptor is not None
            raise


def descriptor_for(handle: VfsHandle, wanted: Access) -> Opened:
    """What a handle has, where it is open for data in that way; EISDIR or EBADF where it is not."""
    opened: Opened = handle.private
    if opened.is_directory:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not opened.access & wanted:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return opened


def in_request() -> bool:
    """Whether a request is running, which may be parked."""
    return current_task() is not None
