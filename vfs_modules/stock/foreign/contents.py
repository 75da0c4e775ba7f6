"""The open files of a foreign store: those that are written to are kept in a local file until they are written back.

A store takes files whole. The first write to one fetches it; from then on everybody reads and writes the local copy,
which goes back when it is synchronised and when its last writer closes. All copies together are bounded.
"""

import errno
import os
import time
from typing import Final

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.stock.foreign.entries import Entry
from lamina.vfs_modules.stock.foreign.store import Store
from lamina.vfs_modules.syscalls.scratch import open_scratch
from lamina.vfs_modules.token import SERVER_TOKEN
from lamina.vfs_modules.turn import Turn

_NOTHING: Final = -1


class Spool:
    """The bytes that local copies take, all together."""

    def __init__(self, folder: str, limit: int) -> None:
        self.folder, self.free = folder, limit

    def take(self, count: int) -> None:
        """Take so many, or give them back where it is negative. Raises ENOSPC."""
        if count > self.free:
            raise OSError(errno.ENOSPC, "too much waits to be written back (spool_limit)")
        self.free -= count


class Node:
    """A file or directory that is open, or that could not be written back yet. `path` follows renames.

    `handles`, `readers`, `writers`: how many there are; `changes` counts what was done to the local copy, `saved` how
    many of that the store has. `gone`: it has no name any more.
    """

    __slots__ = (
        "changes", "edit", "entry", "fd", "gone", "handles", "number", "path", "readers", "saved", "size", "turn",
        "writers", "written_ns",
    )  # fmt: skip

    def __init__(self, path: str, number: int, entry: Entry) -> None:
        self.path, self.number, self.entry = path, number, entry
        self.handles = self.readers = self.writers = 0
        self.fd, self.size = _NOTHING, 0
        self.changes = self.saved = 0
        self.written_ns: int | None = entry.mtime_ns
        self.gone = False
        self.turn = Turn()
        self.edit = Turn()  # a cut must not overtake what is written behind it

    @property
    def is_local(self) -> bool:
        """Whether there is a local copy."""
        return self.fd >= 0

    @property
    def is_unsaved(self) -> bool:
        """Whether the store lacks something of it."""
        return self.is_local and self.changes != self.saved and not self.gone

    def current(self) -> Entry:
        """What is to be told of it, as far as it is known here."""
        if not self.is_local:
            return self.entry
        return self.entry._replace(size=self.size, mtime_ns=self.written_ns)

    def fetch(self, store: Store, spool: Spool, size: int) -> None:
        """Have a local copy with the first `size` bytes; nothing happens where there is one."""
        with self.turn:
            if self.is_local:
                return
            spool.take(size)
            fd = _NOTHING
            try:
                fd = offload(SERVER_TOKEN, open_scratch, spool.folder)
                got = store.fetch(self.path, size, fd) if size else 0
            except BaseException:
                spool.take(-size)
                if fd >= 0:
                    os.close(fd)
                raise
            spool.take(got - size)
            self.size, self.fd = got, fd

    def read(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from the local copy; the bytes read."""
        buffer, done = buffer[: max(self.size - offset, 0)], 0
        while done < len(buffer):
            count = offload(SERVER_TOKEN, os.preadv, self.fd, [buffer[done:]], offset + done)
            if not count:
                break
            done += count
        return done

    def write(self, spool: Spool, data: memoryview, offset: int) -> None:
        """Write to the local copy."""
        with self.edit:
            end = max(self.size, offset + len(data))
            spool.take(end - self.size)
            self.size = end
            done = 0
            while done < len(data):
                done += offload(SERVER_TOKEN, os.pwrite, self.fd, data[done:], offset + done)
            self._note()

    def resize(self, spool: Spool, size: int) -> None:
        """Let the local copy have this size."""
        with self.edit:
            if size != self.size:
                spool.take(size - self.size)
                self.size = size
                offload(SERVER_TOKEN, os.ftruncate, self.fd, size)
            self._note()

    def _note(self) -> None:
        self.changes += 1
        self.written_ns = time.time_ns()

    def save(self, store: Store) -> None:
        """Write the local copy back where it has changed. Raises what the store raises; then it is still unsaved."""
        with self.turn:
            if self.is_unsaved:
                changes = self.changes
                store.write(self.path, self.size, self.fd)
                self.saved = changes

    def drop(self, spool: Spool) -> None:
        """Give the local copy up."""
        if self.is_local:
            os.close(self.fd)
            spool.take(-self.size)
            self.fd = _NOTHING
