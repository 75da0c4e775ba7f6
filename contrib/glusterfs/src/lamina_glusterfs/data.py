"""How the backend reads, writes and syncs; and what else there is to be done with a file's bytes.

Copies are left to whoever asks: glfs_copy_file_range (seen with 10.3) reads from the beginning of the source, wherever
it is told to, and some of the library's layers do not know of it (github.com/gluster/glusterfs, issue 4045).
"""

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Access
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

from lamina_glusterfs.binding import SEEK_DATA, SEEK_HOLE
from lamina_glusterfs.opened import Opened
from lamina_glusterfs.share import GlusterShare, descriptor_for
from lamina_glusterfs.transfers import Transfers, transfers

_LIMIT = 1 << 63
_NO_HOLES = frozenset({errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


class GlusterData(GlusterShare):
    """The part of the backend that moves data."""

    _transfers: Transfers

    def connect(self, share: ShareInfo) -> None:
        """Get ready for transfers."""
        super().connect(share)
        self._transfers = transfers()

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`; fewer bytes than it holds only at the end of the file."""
        opened = descriptor_for(handle, Access.READ)
        wanted = len(buffer)
        done = self._read(token, opened, buffer, offset) if wanted else 0
        while 0 < done < wanted:
            more = self._read(token, opened, buffer[done:], offset + done)
            if not more:
                break
            done += more
        return done

    def _read(self, token: ImpersonationToken, opened: Opened, buffer: memoryview, offset: int) -> int:
        api, length = self._volume.api, len(buffer)
        if offset + length >= _LIMIT:
            length = max(_LIMIT - 1 - offset, 0)
        own = self._transfers.buffer(len(buffer))
        with api.ffi.from_buffer(own) as room:
            count = self._transfer(
                token,
                opened,
                lambda callback, data: api.lib.glfs_pread_async(
                    opened.descriptor, room, length, offset, 0, callback, data
                ),
                own,
            )
        buffer[:count] = memoryview(own)[:count]
        # Only after a success: what was given up may still be filled.
        self._transfers.keep(own)
        return count

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data`; a brick has it when this returns."""
        opened = descriptor_for(handle, Access.WRITE)
        if offset + len(data) >= _LIMIT:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        api, done = self._volume.api, 0
        self._volume.watching.touch(opened.number)
        while done < len(data):
            with api.ffi.from_buffer(data[done:]) as raw:
                begin = partial(self._begin_write, opened, raw, len(data) - done, offset + done)
                done += self._transfer(token, opened, begin)
        return done

    def _begin_write(self, opened: Opened, raw: Any, count: int, offset: int, callback: Any, about: Any) -> int:
        write = self._volume.api.lib.glfs_pwrite_async
        return int(write(opened.descriptor, raw, count, offset, 0, callback, about))

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Return when all that was written is on the bricks' disks."""
        opened: Opened = handle.private
        if opened.is_directory or opened.descriptor is None:
            self._sync_otherwise(token, handle)
            return
        lib = self._volume.api.lib
        start = lib.glfs_fdatasync_async if data_only else lib.glfs_fsync_async
        self._transfer(token, opened, lambda callback, data: start(opened.descriptor, callback, data))

    def _sync_otherwise(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        # A folder's changes are as safe as its bricks' file system keeps them; the library syncs none.
        if not handle.is_directory:
            self._ask(SERVER_TOKEN, handle, self._with_descriptor, os.O_RDWR, self._sync)

    def _sync(self, descriptor: Any) -> None:
        ffi = self._volume.api.ffi
        if self._volume.api.lib.glfs_fsync(descriptor, ffi.NULL, ffi.NULL):
            raise self._volume.failure()

    def _transfer(
        self,
        token: ImpersonationToken,
        opened: Opened,
        start: Callable[[Any, Any], int],
        buffer: bytearray | None = None,
    ) -> int:
        volume = self._volume

        def attempt(left: float) -> int:
            if opened.stale:
                volume.workers.call(left, self._reopen, opened)
            volume.become(token)
            try:
                return self._transfers.begin(opened, start, buffer).get(left)
            except OSError as error:
                opened.stale = error.errno == errno.EBADF
                raise

        try:
            count = attempt(self.options.timeout)
        except OSError as error:
            if error.errno not in {errno.ENOTCONN, errno.EBADF}:
                raise
            count = self._transfer_again(attempt)
        return count

    def _transfer_again(self, attempt: Callable[[float], int]) -> int:
        try:
            return self._volume.patience.keep(self.options.timeout, attempt)
        finally:
            self._tell_health()

    def _reopen(self, opened: Opened) -> None:
        self._volume.become(SERVER_TOKEN)
        with opened.in_use():
            opened.reopen()

    def _with_descriptor(self, opened: Opened, flags: int, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(descriptor, …)` with that of a handle, or one for the time of the call where it has none."""
        if opened.descriptor is not None:
            return function(opened.descriptor, *arguments)
        descriptor = self._volume.open_file(opened.object, flags)
        try:
            return function(descriptor, *arguments)
        finally:
            self._volume.api.lib.glfs_close(descriptor)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end."""
        descriptor_for(handle, Access.WRITE)
        if length >= _LIMIT:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        self._ask(token, handle, self._truncate, length)

    def _truncate(self, opened: Opened, length: int) -> None:
        null = self._volume.api.ffi.NULL
        self._volume.watching.touch(opened.number)
        self._check(self._volume.api.lib.glfs_ftruncate(opened.descriptor, length, null, null))

    def _check(self, result: int) -> None:
        if result < 0:
            raise self._volume.failure()

    def fallocate(self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int) -> None:
        """Reserve space."""
        descriptor_for(handle, Access.WRITE)
        _refuse_beyond(offset + length)
        self._ask(token, handle, self._allocate, offset, length)

    def _allocate(self, opened: Opened, offset: int, length: int) -> None:
        self._volume.watching.touch(opened.number)
        self._check(self._volume.api.lib.glfs_fallocate(opened.descriptor, 1, offset, length))

    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """Let a range read as zeros, whose space is given back or kept."""
        descriptor_for(handle, Access.WRITE)
        _refuse_beyond(offset + length)
        self._ask(token, handle, self._zero, offset, length, deallocate)

    def _zero(self, opened: Opened, offset: int, length: int, deallocate: bool) -> None:
        lib = self._volume.api.lib
        self._volume.watching.touch(opened.number)
        # To fill with zeros would move the end of the file.
        length = min(length, self._size(opened.descriptor) - offset)
        if length > 0:
            call = lib.glfs_discard if deallocate else lib.glfs_zerofill
            self._check(call(opened.descriptor, offset, length))

    def _size(self, descriptor: Any) -> int:
        api = self._volume.api
        status = api.ffi.new("struct stat *")
        self._check(api.lib.glfs_fstat(descriptor, status))
        return int(api.form.unpack.unpack_from(api.ffi.buffer(status))[6])

    def allocated_ranges(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, limit: int
    ) -> list[tuple[int, int]]:
        """The parts of a range that are not holes."""
        if handle.is_directory:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        found: list[tuple[int, int]] = self._ask(
            SERVER_TOKEN, handle, self._with_descriptor, os.O_RDONLY, self._ranges, offset, length, limit
        )
        return found

    def _ranges(self, descriptor: Any, offset: int, length: int, limit: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        position, end = offset, min(offset + length, self._size(descriptor))
        while position < end and len(found) < limit:
            start = self._seek(descriptor, position, SEEK_DATA)
            if start is None or start >= end:
                break
            hole = self._seek(descriptor, start, SEEK_HOLE)
            position = end if hole is None else min(hole, end)
            found.append((start, position - start))
        return found

    def _seek(self, descriptor: Any, offset: int, whence: int) -> int | None:
        """Where the next data or hole is; None where there is none up to the end."""
        place = self._volume.api.lib.glfs_lseek(descriptor, offset, whence)
        if place < 0:
            error = self._volume.failure()
            if error.errno == errno.ENXIO:
                return None
            if error.errno in _NO_HOLES:
                raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
            raise error
        return int(place)


def _refuse_beyond(end: int) -> None:
    if end >= _LIMIT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
