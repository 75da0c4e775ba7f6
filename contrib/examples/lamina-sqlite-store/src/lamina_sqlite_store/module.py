"""Serves files that stand in a SQLite database: one file that holds a whole share.

What is in the database is `store`'s; here it is told in the words of Lamina's contract. Every question to the database
may sleep on the disk, so it is asked on a worker thread (`offload`), while other requests go on.
"""

import errno
import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, NoReturn, TypeVar

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend, ModuleOptions, ShareInfo
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import (
    Access,
    Capability,
    DirectoryEntry,
    FileStat,
    OpenHow,
    Times,
    VolumeStatistics,
)
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn
from pydantic import Field

from lamina_sqlite_store.store import CHUNK, LARGEST, ROOT, Node, Store

BLOCK = 4096
LONGEST_NAME = 255
_Answer = TypeVar("_Answer")


class SqliteStoreBackendOptions(ModuleOptions):
    """What the administrator may say in [share.NAME.sqlite_store]."""

    database: str = Field(
        default="", description="the database's file; in the server's state folder unless it is given"
    )
    size: int = Field(default=1 << 30, ge=BLOCK, description="bytes that all files together may have")


class Opened(NamedTuple):
    """What is kept for an open handle: the node's number, and whether it is a directory."""

    number: int
    is_directory: bool
    access: Access


def fail(number: int, path: str = "") -> NoReturn:
    """Raise the OSError of an errno."""
    raise OSError(number, os.strerror(number), path)


class SqliteStoreBackend(Backend):
    """Serves files that stand in a SQLite database."""

    Options = SqliteStoreBackendOptions
    name: ClassVar[str] = "sqlite_store"
    api_version: ClassVar[tuple[int, int]] = (1, 4)

    options: SqliteStoreBackendOptions

    def connect(self, share: ShareInfo) -> None:
        """Open the database, or make it."""
        path = self.options.database or f"{self.storage.folder()}/files.db"
        try:
            self._store = offload(SERVER_TOKEN, Store, path)
        except sqlite3.Error as error:
            raise OSError(errno.EIO, f"the database cannot be opened: {error}", path) from error
        self._open: Counter[int] = Counter()
        # What looks first and changes then must not be come between.
        self._turn = Turn()
        self._ask(self._store.make_root, stat.S_IFDIR | 0o777, os.geteuid(), os.getegid())
        self._used = self._ask(self._store.used)

    def disconnect(self) -> None:
        """Close the database."""
        offload(SERVER_TOKEN, self._store.close)

    def capabilities(self, below: Capability) -> Capability:
        """What clients are told that this store can do."""
        return Capability.CASE_SENSITIVE | Capability.CREATION_TIME

    def _ask(self, function: Callable[..., _Answer], *arguments: object) -> _Answer:
        try:
            return offload(SERVER_TOKEN, function, *arguments)
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
            self.log.error(f"the database failed: {error}")
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error

    # Finding and making. A path has "/" between names, and is never absolute; "" is the directory itself.

    def _find(self, directory: VfsHandle, path: str) -> Node:
        node = self._ask(self._store.node, directory.private.number)
        for name in filter(None, path.split("/")):
            if not stat.S_ISDIR(node.mode):
                fail(errno.ENOTDIR, path)
            node = self._ask(self._store.child, node.number, _name(name, path)) or fail(errno.ENOENT, path)
        return node

    def _find_parent(self, directory: VfsHandle, path: str) -> tuple[int, bytes]:
        head, _, name = path.rpartition("/")
        parent = self._find(directory, head)
        if not stat.S_ISDIR(parent.mode):
            fail(errno.ENOTDIR, path)
        if not parent.links:
            fail(errno.ENOENT, path)
        return parent.number, _name(name, path)

    def _make(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> Node:
        parent, name = self._find_parent(directory, path)
        if self._ask(self._store.child, parent, name) is not None:
            fail(errno.EEXIST, path)
        links = 2 if stat.S_ISDIR(mode) else 1
        return self._ask(self._store.make, parent, name, mode, token.uid, token.gid, links)

    # Opening.

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root."""
        return self._handle(ROOT, True, Access.PATH)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open a file or directory, or make a file."""
        with self._turn:
            try:
                node = self._find(directory, path)
            except FileNotFoundError:
                if not how.create:
                    raise
                node = self._make(token, directory, path, stat.S_IFREG | how.mode)
            else:
                if how.create and how.exclusive:
                    fail(errno.EEXIST, path)
            is_directory = stat.S_ISDIR(node.mode)
            if how.directory and not is_directory:
                fail(errno.ENOTDIR, path)
            if is_directory and how.access & Access.WRITE:
                fail(errno.EISDIR, path)
            return self._handle(node.number, is_directory, how.access)

    def _handle(self, number: int, is_directory: bool, access: Access) -> VfsHandle:
        self._open[number] += 1
        return VfsHandle(-1, is_directory, Opened(number, is_directory, access))

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back; with the last one goes a file that has no name."""
        number, handle.private = handle.private.number, None
        self._open[number] -= 1
        if self._open[number]:
            return
        del self._open[number]
        node = self._ask(self._store.node, number)
        if not node.links:
            self._ask(self._store.forget, number)
            self._used = self._ask(self._store.used)

    # Looking.

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """What there is under a path."""
        return _stat(self._find(directory, path))

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """What is open."""
        return _stat(self._ask(self._store.node, handle.private.number))

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory."""
        if not handle.private.is_directory:
            fail(errno.ENOTDIR)
        children = self._ask(self._store.children, handle.private.number)
        return (
            DirectoryEntry(decode_name(name), _stat(child) if with_attributes else None) for name, child in children
        )

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """How large the store is, and how full."""
        free = max(0, self.options.size - self._used)
        return VolumeStatistics(BLOCK, self.options.size, free, free, volume_id=1)

    # Data.

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Read into `buffer`; fewer bytes than asked only at the end."""
        number = _data_of(handle, Access.READ)
        part = self._ask(self._store.read, number, offset, len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data`; what lies between the old end and `offset` is zeros."""
        number = _data_of(handle, Access.WRITE)
        if not data:
            return 0
        if offset + len(data) > LARGEST:
            fail(errno.EFBIG)
        with self._turn:
            self._make_room(len(data))
            self._ask(self._store.write, number, offset, bytes(data))
        return len(data)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end."""
        number = _data_of(handle, Access.WRITE)
        if length > LARGEST:
            fail(errno.EFBIG)
        with self._turn:
            self._ask(self._store.truncate, number, length)
            self._used = self._ask(self._store.used)

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Return when all that was written is on stable storage."""
        self._ask(self._store.sync)

    def _make_room(self, more: int) -> None:
        """Count bytes that are to be written; those over others are counted twice until that would be too much."""
        if self._used + more + CHUNK > self.options.size:
            self._used = self._ask(self._store.used)
        if self._used + more > self.options.size:
            fail(errno.ENOSPC)
        self._used += more

    # Names.

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        with self._turn:
            self._make(token, directory, path, stat.S_IFDIR | mode)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a file's name; whoever has it open keeps the file."""
        with self._turn:
            node = self._find(directory, path)
            if stat.S_ISDIR(node.mode):
                fail(errno.EISDIR, path)
            self._remove(directory, path, node)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        with self._turn:
            node = self._find(directory, path)
            if not stat.S_ISDIR(node.mode):
                fail(errno.ENOTDIR, path)
            if not self._ask(self._store.is_empty, node.number):
                fail(errno.ENOTEMPTY, path)
            self._remove(directory, path, node)

    def _remove(self, directory: VfsHandle, path: str, node: Node) -> None:
        self._ask(self._store.remove, *self._find_parent(directory, path), node.number, node.number in self._open)
        self._used = self._ask(self._store.used)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename, and with `replace` put it in the place of what is there."""
        with self._turn:
            node = self._find(source_directory, source)
            old, new = self._find_parent(source_directory, source), self._find_parent(target_directory, target)
            self._refuse_beneath_itself(node.number, new[0], target)
            there = self._ask(self._store.child, *new)
            if there is not None and not replace:
                fail(errno.EEXIST, target)
            if there is not None and there.number == node.number:
                return
            replaced = None
            if there is not None:
                self._refuse_replacing(node, there, target)
                replaced = there.number, there.number in self._open
            self._ask(self._store.rename, old, new, node.number, replaced)
            self._used = self._ask(self._store.used)

    def _refuse_beneath_itself(self, number: int, parent: int, path: str) -> None:
        while parent:
            if parent == number:
                fail(errno.EINVAL, path)
            parent = self._ask(self._store.parent, parent)

    def _refuse_replacing(self, node: Node, there: Node, path: str) -> None:
        if stat.S_ISDIR(there.mode) and not stat.S_ISDIR(node.mode):
            fail(errno.EISDIR, path)
        if stat.S_ISDIR(node.mode) and not stat.S_ISDIR(there.mode):
            fail(errno.ENOTDIR, path)
        if not self._ask(self._store.is_empty, there.number):
            fail(errno.ENOTEMPTY, path)

    # Attributes.

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set the times that are given."""
        given = {"accessed": times.access_ns, "written": times.write_ns, "born": times.creation_ns}
        self._change(handle, {column: value for column, value in given.items() if value is not None})

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits."""
        with self._turn:
            node = self._ask(self._store.node, handle.private.number)
            self._change(handle, {"mode": stat.S_IFMT(node.mode) | mode})

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set the owner and the group; -1 leaves one alone."""
        self._change(handle, {column: value for column, value in (("uid", uid), ("gid", gid)) if value != -1})

    def _change(self, handle: VfsHandle, values: dict[str, int]) -> None:
        self._ask(self._store.touch_attributes, handle.private.number, values)


def _name(name: str, path: str) -> bytes:
    found = encode_name(name)
    if len(found) > LONGEST_NAME:
        fail(errno.ENAMETOOLONG, path)
    return found


def _data_of(handle: VfsHandle, wanted: Access) -> int:
    opened: Opened = handle.private
    if not opened.access & wanted:
        fail(errno.EBADF)
    if opened.is_directory:
        fail(errno.EISDIR)
    return opened.number


def _stat(node: Node) -> FileStat:
    return FileStat(
        dev=1,
        ino=node.number,
        mode=node.mode,
        nlink=node.links,
        uid=node.uid,
        gid=node.gid,
        size=node.size,
        allocated=-(-node.size // BLOCK) * BLOCK,
        atime_ns=node.accessed,
        mtime_ns=node.written,
        ctime_ns=node.changed,
        btime_ns=node.born,
    )
