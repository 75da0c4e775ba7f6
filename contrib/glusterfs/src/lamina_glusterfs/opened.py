"""What is kept for an open handle: the library's object of the file, and its descriptor where it is open for data.

A call that is given up may still be running when the handle is closed, or is only about to begin. So whoever uses what
is here says so (`in_use`), and what is closed meanwhile is given back when the last of them is done.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from lamina.vfs_modules.operations import Access

from lamina_glusterfs.entries import Listed
from lamina_glusterfs.volume import Volume

FLAGS = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY, os.O_RDWR)
"""How a file is opened, by `Access`; the first is not used: for PATH there is no descriptor."""


class Opened:
    """An open file or directory. `object` and `descriptor` are the library's; the latter is None for `Access.PATH`.

    `stale`: the descriptor is to be opened anew. `number`: the file's. `listed`: what was read last from a directory.
    """

    __slots__ = (
        *("_closed", "_lock", "_users", "access", "descriptor", "is_directory", "listed", "number", "object"),
        *("stale", "volume"),
    )

    def __init__(self, volume: Volume, object_: Any, descriptor: Any, access: Access, is_directory: bool) -> None:
        self.volume = volume
        self.object = object_
        self.descriptor = descriptor
        self.access = access
        self.is_directory = is_directory
        self.stale = False
        self.listed = Listed(volume) if is_directory else None
        self.number = 0
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def enter(self) -> None:
        """Somebody is going to use it; EBADF where it is closed already. `leave` is called when that is done."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._users += 1

    def leave(self, give_back: Callable[[Callable[[], object]], object] | None = None) -> None:
        """It is not used any more. `give_back`: who calls what closes it, where this thread must not wait."""
        with self._lock:
            self._users -= 1
            last = self._closed and not self._users
        if last:
            (give_back or _now)(self._give_back)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While it is used."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def close(self) -> None:
        """Close it, or have whoever uses it last do so. Raises what was not reported before."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            last = not self._users
        if last:
            self._give_back()

    def _give_back(self) -> None:
        lib = self.volume.api.lib
        failed = None
        if self.listed is not None:
            self.listed.close()
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None and self._close(descriptor):
            failed = self.volume.failure()
        object_, self.object = self.object, None
        lib.glfs_h_close(object_)
        # Nothing is kept back by this client: that bricks are away says nothing of what was written.
        if failed is not None and failed.errno not in {errno.ENOTCONN, errno.EBADF}:
            raise failed

    def pin(self) -> None:
        """Have a descriptor of what is open for PATH, so that it stays when its last name goes; as the server."""
        if self.descriptor is None:
            # A link, say, cannot be opened: its handle goes with its name.
            with contextlib.suppress(OSError):
                self.descriptor = self._open()

    def _open(self) -> Any:
        if not self.is_directory:
            return self.volume.open_file(self.object, FLAGS[self.access])
        found = self.volume.api.lib.glfs_h_opendir(self.volume.fs, self.object)
        if found == self.volume.api.ffi.NULL:
            raise self.volume.failure()
        return found

    def _close(self, descriptor: Any) -> int:
        lib = self.volume.api.lib
        return int(lib.glfs_closedir(descriptor) if self.is_directory else lib.glfs_close(descriptor))

    def forget_descriptor(self) -> None:
        """Have it open for PATH only."""
        descriptor, self.descriptor = self.descriptor, None
        self.volume.api.lib.glfs_close(descriptor)

    def reopen(self) -> None:
        """Open it anew where a brick that was away has forgotten that it is open.

        As the server: that the user may was checked when it was opened first.
        """
        if not self.stale or self.descriptor is None:
            return
        with self.volume.as_server():
            unused = self._open()
            with self._lock:
                if self.stale:
                    unused, self.descriptor, self.stale = self.descriptor, unused, False
                # Who is in a call with the old one still needs it: it is closed where nobody else is.
                alone = self._users <= 1
            if alone:
                self._close(unused)


def _now(function: Callable[[], object]) -> None:
    function()
