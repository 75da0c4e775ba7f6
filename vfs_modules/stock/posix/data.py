"""How `posix` reads and writes: from memory on the loop's thread, and what may have to wait on a worker thread."""

import errno
import os
from collections.abc import Callable

from lamina.vfs_modules import syscalls
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.stock.posix.file import PosixFile, PosixShare
from lamina.vfs_modules.token import ImpersonationToken

_NOWAIT = os.RWF_NOWAIT


class PosixData(PosixShare):
    """The part of `posix` that moves data."""

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`, from memory where it is there and on a worker thread where it is not."""
        fd = handle.fd
        file: PosixFile = handle.private
        got = 0
        if file.nowait:
            try:
                got = os.preadv(fd, (buffer,), offset, _NOWAIT)
            except OSError as error:
                self._not_now(fd, handle, error)
        elif not file.waits:
            got = os.preadv(fd, (buffer,), offset)
        return got if got == len(buffer) else self._read_rest(token, handle, buffer, offset, got)

    def sendable(self, handle: VfsHandle, offset: int, length: int) -> int:
        """All that there is of a range, in a file system that lives in memory."""
        file: PosixFile = handle.private
        if file.nowait or file.waits or not self._sends:
            return 0
        return max(0, min(length, os.fstat(handle.fd).st_size - offset))

    def _read_rest(
        self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int, got: int
    ) -> int:
        # A short answer is the end of the file, or of what was in memory: only a read that may wait can tell.
        fd = handle.fd
        waits = handle.private.waits and os.fstat(fd).st_size > offset + got
        while got < len(buffer):
            rest = buffer[got:]
            more = (
                offload(token, os.preadv, fd, (rest,), offset + got) if waits else os.preadv(fd, (rest,), offset + got)
            )
            if more == 0:
                break
            got += more
        return got

    def _not_now(self, fd: int, handle: VfsHandle, error: OSError) -> None:
        if error.errno == errno.EOPNOTSUPP:
            self._cannot_say(fd, handle)
        elif error.errno != errno.EAGAIN:
            raise error

    def _cannot_say(self, fd: int, handle: VfsHandle) -> None:
        """The file system cannot say whether it would wait; one that lives in memory never does."""
        waits = self.options.offload != "never" and not syscalls.is_memory(fd)
        handle.private = self._devices[os.fstat(fd).st_dev] = PosixFile(False, False, waits)

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data`: what is not too large on the loop's thread, the rest where it may sleep."""
        fd = handle.fd
        if len(data) > self._inline_write and self._write_waits(fd, handle):
            return offload(token, _write_all, fd, data, offset)
        written = os.pwrite(fd, data, offset)
        return written if written == len(data) else _write_all(fd, data, offset, written)

    def _write_waits(self, fd: int, handle: VfsHandle) -> bool:
        if handle.private is self._ready and syscalls.is_memory(fd):
            # Nobody has read from this file system yet, which finds out what it can say.
            self._cannot_say(fd, handle)
        return bool(handle.private.waits)

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Wait for stable storage, on a worker thread."""
        sync = os.fdatasync if data_only else os.fsync
        if not handle.private.by_path:
            self._perhaps_offload(token, sync, handle.fd)
            return
        fd = syscalls.reopen(token, handle.fd, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self._perhaps_offload(token, sync, fd)
        finally:
            os.close(fd)

    def _perhaps_offload(self, token: ImpersonationToken, call: Callable[[int], None], fd: int) -> None:
        if self.options.offload == "never":
            call(fd)
        else:
            offload(token, call, fd)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file."""
        os.ftruncate(handle.fd, length)

    def fallocate(self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int) -> None:
        """Reserve space."""
        syscalls.fallocate(token, handle.fd, offset, length)


def _write_all(fd: int, data: memoryview, offset: int, written: int = 0) -> int:
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)
    return written
