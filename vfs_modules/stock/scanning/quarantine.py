"""The folder that infected files are moved to, with a note of where they were; nobody but the server reaches it."""

import contextlib
import errno
import json
import os
from contextlib import ExitStack
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, FileStat, OpenHow, Operations
from lamina.vfs_modules.stock.scanning.options import VirusScanOptions
from lamina.vfs_modules.token import SERVER_TOKEN

ATTRIBUTE: Final = "user.lamina.quarantined"
"""The note, where there are attributes; else it is a file beside the other, with ".note" behind its name."""

_FOLDER: Final = OpenHow(Access.PATH, directory=True, follow=False)
_FILE: Final = OpenHow(Access.PATH, follow=False)
_NEW: Final = OpenHow(Access.READ_WRITE, create=True, exclusive=True, follow=False, mode=0o600)
_MODE: Final = 0o700
_LONGEST: Final = 255
_ATTEMPTS: Final = 100


class Quarantine:
    """The folder. `below` are the layers beneath the module, `root` the share's."""

    def __init__(self, below: Operations, root: VfsHandle, options: VirusScanOptions) -> None:
        self._below, self._root, self._options = below, root, options
        self._path = options.quarantine_directory

    def hides(self, path: str) -> bool:
        """Whether a path, from the root, leads there."""
        own, other = self._path.casefold(), path.casefold()
        return other == own or other.startswith(own + "/")

    def take(self, path: str, stat: FileStat, note: dict[str, object]) -> str:
        """Move a file there; its path in quarantine. Raises OSError: ENOENT where `path` is no longer the file."""
        with ExitStack() as stack:
            folder = self._folder(stack)
            self._require(self._root, path, stat)
            name = self._move(path, folder)
            try:
                self._require(folder, name, stat)
            except OSError:
                # Somebody has put another file there in the meantime.
                self._below.rename(SERVER_TOKEN, folder, name, self._root, path, False)
                raise
            self._note(folder, name, json.dumps(note).encode("ascii"))
            return f"{self._path}/{name}"

    def delete(self, path: str, stat: FileStat) -> None:
        """Delete a file for good. Raises OSError: ENOENT where `path` is no longer the file."""
        self._require(self._root, path, stat)
        self._below.unlink(SERVER_TOKEN, self._root, path)

    def _require(self, directory: VfsHandle, path: str, stat: FileStat) -> None:
        there = self._below.stat(SERVER_TOKEN, directory, path)
        if (there.dev, there.ino) != (stat.dev, stat.ino):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _folder(self, stack: ExitStack) -> VfsHandle:
        folder = self._root
        for name in self._path.split("/"):
            with contextlib.suppress(FileExistsError):
                self._below.mkdir(SERVER_TOKEN, folder, name, _MODE)
            folder = self._below.open(SERVER_TOKEN, folder, name, _FOLDER)
            stack.callback(self._below.close, SERVER_TOKEN, folder)
        if self._below.fstat(SERVER_TOKEN, folder).uid != SERVER_TOKEN.uid:
            raise PermissionError(errno.EACCES, "belongs to somebody else", self._path)
        return folder

    def _move(self, path: str, folder: VfsHandle) -> str:
        own = path.rpartition("/")[2]
        for attempt in range(_ATTEMPTS):
            name = self._name(own, attempt)
            with contextlib.suppress(FileExistsError):
                self._below.rename(SERVER_TOKEN, self._root, path, folder, name, False)
                return name
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    def _name(self, own: str, attempt: int) -> str:
        before = self._options.quarantine_prefix
        after = (f".{attempt}" if attempt else "") + self._options.quarantine_suffix
        room = _LONGEST - len((before + after).encode()) - len(".note")
        while len(own.encode("utf-8", "surrogatepass")) > room:
            own = own[:-1]
        return before + own + after

    def _note(self, folder: VfsHandle, name: str, note: bytes) -> None:
        below = self._below
        handle = below.open(SERVER_TOKEN, folder, name, _FILE)
        try:
            below.setxattr(SERVER_TOKEN, handle, ATTRIBUTE, note)
            return
        except OSError:
            pass  # there are no attributes, or there is no room for one
        finally:
            below.close(SERVER_TOKEN, handle)
        with contextlib.suppress(OSError):
            beside = below.open(SERVER_TOKEN, folder, name + ".note", _NEW)
            try:
                below.pwrite(SERVER_TOKEN, beside, memoryview(note), 0)
            finally:
                below.close(SERVER_TOKEN, beside)
