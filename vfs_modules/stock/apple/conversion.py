"""Taking what a Mac has put into "._NAME", on a server without named streams, to where this share keeps it.

Finder information and extended attributes become streams of the file, done as the user who came across them: what he
may not write stays where it is. The resource fork goes to where forks are kept. Only then is the header file written
anew, beside the old one and in its place.
"""

import contextlib
import errno
import logging
from typing import Final

from lamina.vfs_modules.engine import breathe
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, FileStat, OpenHow, Operations
from lamina.vfs_modules.stock.apple.afp_info import FINDER_SIZE, NO_FINDER, AfpInfo
from lamina.vfs_modules.stock.apple.appledouble import (
    BLANK_FORK_SIZE,
    FINDER_INFO,
    FORK_OFFSET,
    MAX_HEADER,
    RESOURCE_FORK,
    AppleDoubleError,
    Entry,
    is_blank_fork,
    parse_attributes,
)
from lamina.vfs_modules.stock.apple.fork import STREAM as FORK_STREAM
from lamina.vfs_modules.stock.apple.header_files import PREFIX, HeaderFile, HeaderFiles
from lamina.vfs_modules.stock.apple.metadata import MetadataStore
from lamina.vfs_modules.stock.apple.options import FruitOptions
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

log = logging.getLogger(__name__)

_PIECE: Final = 1 << 20
_NEW: Final = OpenHow(Access.READ_WRITE, create=True)
_EXCLUSIVE: Final = OpenHow(Access.READ_WRITE, create=True, exclusive=True)
_FINDER_ATTRIBUTES: Final = frozenset({"com.apple.FinderInfo", "com.apple.ResourceFork"})
_REFUSED: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG}
)

PRIVATE: Final = {ord(char): 0xF020 + at for at, char in enumerate('"*:<>?\\|')} | {
    code: 0xF000 + code for code in range(1, 32)
}
"""How Macs write the characters that NT reserves."""


class Converter:
    """Converts header files of one share. `root`: its root, open in the chain `below`."""

    def __init__(
        self, below: Operations, root: VfsHandle, files: HeaderFiles, metadata: MetadataStore, options: FruitOptions
    ) -> None:
        self._below = below
        self._root = root
        self._files = files
        self._metadata = metadata
        self._options = options

    def is_needed(self, header: HeaderFile) -> bool:
        """Whether there is something in a header file that is to be elsewhere."""
        return not self._stays(header) or header.finder != NO_FINDER

    def _stays(self, header: HeaderFile) -> bool:
        return self._options.resource == "file" and header.is_as_made_here and not self._is_to_be_dropped(header)

    def convert(
        self, token: ImpersonationToken, handle: VfsHandle, path: str, base: FileStat, header: HeaderFile
    ) -> None:
        """Convert the header file of the open file `handle`, which is called `path`, as far as that goes."""
        try:
            if self._stays(header):
                self._take_finder(token, handle, AfpInfo(header.finder))
                self._files.forget_finder(header)
            else:
                self._convert(token, handle, path, base, header)
        except AppleDoubleError as error:
            log.info("%s is left as it is: %s", header.path, error)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            log.info("%s is left as it is: %s", header.path, error.strerror)

    def _is_to_be_dropped(self, header: HeaderFile) -> bool:
        size = self._files.fork_size(header)
        if size == 0:
            return False  # it is waiting for a fork, which somebody may be about to write
        return size == BLANK_FORK_SIZE and self._options.wipe_intentionally_left_blank_rfork

    def _convert(
        self, token: ImpersonationToken, handle: VfsHandle, path: str, base: FileStat, header: HeaderFile
    ) -> None:
        head = self._files.head(header, MAX_HEADER)
        finder = header.entries.get(FINDER_INFO)
        if finder is not None and finder.length >= FINDER_SIZE:
            self._take_finder(token, handle, AfpInfo(head[finder.offset : finder.offset + FINDER_SIZE]))
            for name, value in parse_attributes(head, finder).items():
                if name not in _FINDER_ATTRIBUTES:
                    self._take_attribute(token, handle, name, value)
        fork = self._kept_fork(header)
        if self._options.resource == "stream":
            self._move_fork_to_stream(token, handle, header, fork)
        elif not fork.length and self._options.delete_empty_adfiles:
            self._files.remove(header)
        else:
            self._write_anew(path, base, header, fork)

    def _take_finder(self, token: ImpersonationToken, handle: VfsHandle, info: AfpInfo) -> None:
        if not info.is_empty and len(info.finder) == FINDER_SIZE and self._metadata.load(token, handle) is None:
            self._metadata.store(token, handle, info)

    def _take_attribute(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        stream_name = name if self._options.encoding == "native" else name.translate(PRIVATE)
        with contextlib.suppress(FileExistsError):
            stream = self._below.open_stream(token, handle, stream_name, _EXCLUSIVE)
            try:
                self._below.pwrite(token, stream, memoryview(value), 0)
            finally:
                self._below.close(token, stream)

    def _kept_fork(self, header: HeaderFile) -> Entry:
        fork = header.entries.get(RESOURCE_FORK, Entry(0, 0))
        if fork.length != BLANK_FORK_SIZE or not self._options.wipe_intentionally_left_blank_rfork:
            return fork
        opened = self._files.open(header, Access.READ)
        try:
            data = bytearray(fork.length)
            self._below.pread(header.acting, opened, memoryview(data), fork.offset)
        finally:
            self._below.close(header.acting, opened)
        return Entry(fork.offset, 0) if is_blank_fork(bytes(data)) else fork

    def _write_anew(self, path: str, base: FileStat, header: HeaderFile, fork: Entry) -> None:
        directory, slash, _ = path.rpartition("/")
        new_name = f"{directory}{slash}{PREFIX}{header.stat.ino:x}.new"
        with contextlib.suppress(FileNotFoundError):
            self._below.unlink(header.acting, self._root, new_name)  # of a conversion that did not come to its end
        made = self._files.make(path, base, fork.length, new_name)
        try:
            self._copy(header, fork, made, FORK_OFFSET)
            self._below.rename(header.acting, self._root, new_name, self._root, header.path, True)
        except BaseException:
            with contextlib.suppress(OSError):
                self._below.unlink(SERVER_TOKEN, self._root, new_name)
            raise
        finally:
            self._below.close(SERVER_TOKEN, made)

    def _move_fork_to_stream(
        self, token: ImpersonationToken, handle: VfsHandle, header: HeaderFile, fork: Entry
    ) -> None:
        if fork.length:
            stream = self._below.open_stream(token, handle, FORK_STREAM, _NEW)
            try:
                self._copy(header, fork, stream, 0)
            finally:
                self._below.close(token, stream)
        self._files.remove(header)

    def _copy(self, header: HeaderFile, fork: Entry, target: VfsHandle, target_offset: int) -> None:
        source = self._files.open(header, Access.READ)
        try:
            buffer, done = memoryview(bytearray(min(_PIECE, fork.length))), 0
            while done < fork.length:
                piece = buffer[: min(len(buffer), fork.length - done)]
                count = self._below.pread(header.acting, source, piece, fork.offset + done)
                if not count:
                    break
                self._below.pwrite(SERVER_TOKEN, target, piece[:count], target_offset + done)
                done += count
                breathe()
        finally:
            self._below.close(header.acting, source)
