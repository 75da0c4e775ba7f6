"""The files "._NAME" beside others, in which resource forks are kept: finding, making, moving and removing them.

A header file belongs to its file: whoever may read or write that may read or write its fork. It is used for others than
who may use it himself only where both have one owner, for anybody may call a file of his own like that. What is no
AppleDouble is nobody's header file, and is never touched.
"""

import contextlib
import errno
import os
import stat as st
from typing import Final, NamedTuple

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, FileStat, OpenHow, Operations
from lamina.vfs_modules.stock.apple.appledouble import (
    FINDER_OFFSET,
    FINDER_SIZE,
    FORK_LENGTH_OFFSET,
    FORK_OFFSET,
    AppleDoubleError,
    Entry,
    is_as_made_here,
    new_header,
    parse_table,
)
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

PREFIX: Final = "._"
"""What the names of header files begin with."""

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE})
_TABLE: Final = 512


class HeaderFile(NamedTuple):
    """A header file that is there. `acting`: in whose name it may be used; `finder`: its
    Finder information, if that is where it is made here."""

    path: str
    stat: FileStat
    acting: ImpersonationToken
    entries: dict[int, Entry]
    finder: bytes = b""

    @property
    def is_as_made_here(self) -> bool:
        """Whether its fork is where forks are kept here."""
        return is_as_made_here(self.entries)


def header_path(path: str) -> str | None:
    """The path of the header file of what `path` names; None for the root of the share, and for header files."""
    directory, slash, name = path.rpartition("/")
    if not name or name.startswith(PREFIX):
        return None
    return f"{directory}{slash}{PREFIX}{name}"


def is_header_name(path: str) -> bool:
    """Whether a path is that of a header file, by its name or that of a folder above it."""
    return path.startswith(PREFIX) or f"/{PREFIX}" in path


class HeaderFiles:
    """The header files of a share, whose `root` is open in the chain `below`."""

    def __init__(self, below: Operations, root: VfsHandle) -> None:
        self._below = below
        self._root = root

    def find(self, token: ImpersonationToken, path: str, base: FileStat) -> HeaderFile | None:
        """The header file of what `path` names and `base` is the stat of; None where there is none to be used."""
        header = header_path(path)
        if header is None:
            return None
        try:
            stat = self._below.stat(SERVER_TOKEN, self._root, header)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return None
        if not st.S_ISREG(stat.mode):
            return None
        acting = SERVER_TOKEN if stat.uid == base.uid else token
        try:
            found = HeaderFile(header, stat, acting, {})
            head = self.head(found, _TABLE)
            return found._replace(
                entries=parse_table(head, stat.size), finder=head[FINDER_OFFSET : FINDER_OFFSET + FINDER_SIZE]
            )
        except (AppleDoubleError, PermissionError):
            return None
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return None

    def head(self, header: HeaderFile, size: int) -> bytes:
        """The first `size` bytes of a header file, or as many as there are."""
        handle = self.open(header, Access.READ)
        try:
            buffer = bytearray(min(size, header.stat.size))
            return bytes(buffer[: self._below.pread(header.acting, handle, memoryview(buffer), 0)])
        finally:
            self._below.close(header.acting, handle)

    def open(self, header: HeaderFile, access: Access) -> VfsHandle:
        """Open a header file; ESTALE where the name means another file by now."""
        handle = self._below.open(header.acting, self._root, header.path, OpenHow(access, follow=False))
        stat = self._below.fstat(header.acting, handle)
        if (stat.dev, stat.ino, stat.uid) != (header.stat.dev, header.stat.ino, header.stat.uid):
            self._below.close(header.acting, handle)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), header.path)
        return handle

    def make(self, path: str, base: FileStat, fork_length: int = 0, name: str | None = None) -> VfsHandle:
        """Make the header file of `path`, without a fork, with owner and mode of its file; open for both.

        `name`: the path to make it under for now. EEXIST where something is called so.
        """
        header = name if name is not None else header_path(path)
        if header is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        mode = st.S_IMODE(base.mode) & 0o666 | 0o600
        how = OpenHow(Access.READ_WRITE, create=True, exclusive=True, follow=False, mode=mode)
        made = self._below.open(SERVER_TOKEN, self._root, header, how)
        try:
            if SERVER_TOKEN.uid == 0:
                self._below.fchown(SERVER_TOKEN, made, base.uid, base.gid)
            self._below.pwrite(SERVER_TOKEN, made, memoryview(new_header(fork_length=fork_length)), 0)
        except BaseException:
            self._below.close(SERVER_TOKEN, made)
            raise
        return made

    def note_length(self, handle: VfsHandle, length: int) -> None:
        """Let a header file say how long its fork is."""
        self._below.pwrite(SERVER_TOKEN, handle, memoryview(length.to_bytes(4, "big")), FORK_LENGTH_OFFSET)

    def forget_finder(self, header: HeaderFile) -> None:
        """Let a header file that is as they are made here have no Finder information."""
        handle = self.open(header, Access.WRITE)
        try:
            self._below.pwrite(header.acting, handle, memoryview(bytes(FINDER_SIZE)), FINDER_OFFSET)
        finally:
            self._below.close(header.acting, handle)

    def fork_size(self, header: HeaderFile | None) -> int:
        """Bytes in the fork of a header file that is as they are made here."""
        if header is None or not header.is_as_made_here:
            return 0
        return max(header.stat.size - FORK_OFFSET, 0)

    def remove(self, header: HeaderFile) -> None:
        """Remove a header file; harmless where it has gone."""
        with contextlib.suppress(FileNotFoundError):
            self._below.unlink(header.acting, self._root, header.path)

    def move(self, header: HeaderFile, path: str) -> None:
        """Let a header file follow its file, which is called `path` now."""
        target = header_path(path)
        if target is not None:
            self._below.rename(header.acting, self._root, header.path, self._root, target, True)

    def apply(self, header: HeaderFile | None, operation: str, *arguments: int) -> None:
        """Do what was done with a file with its header file, if there is one that lets it be done."""
        if header is None:
            return
        with contextlib.suppress(OSError):
            opened = self.open(header, Access.PATH)
            try:
                getattr(self._below, operation)(header.acting, opened, *arguments)
            finally:
                self._below.close(header.acting, opened)
