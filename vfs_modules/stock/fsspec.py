"""A backend over any file system of fsspec: object stores, FTP, SFTP, WebDAV and what else has one.

Such a store has files with a size and often a time, and no more: no owners, modes, attributes or locks. Everything is
done in the name of one account there; who may use the share is decided above. Files are read from the store in place,
and written by way of a local copy (`foreign.contents`).
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import ClassVar, Final, NoReturn

from lamina.vfs_modules.engine import aside, current_task, sleep
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend, ShareInfo
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import (
    Access,
    Capability,
    DirectoryEntry,
    FileStat,
    OpenHow,
    Times,
    VolumeStatistics,
)
from lamina.vfs_modules.stock.foreign.contents import Node, Spool
from lamina.vfs_modules.stock.foreign.entries import BLOCK, Entry, Shown, device_number
from lamina.vfs_modules.stock.foreign.options import FsspecOptions
from lamina.vfs_modules.stock.foreign.store import Store
from lamina.vfs_modules.stock.foreign.tree import MARKER, Tree, join, parent_of
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

_LONGEST: Final = 255
_LONGEST_PATH: Final = 4095


class _Opened:
    """What a handle is of, and what may be done with the data."""

    __slots__ = ("access", "node")

    def __init__(self, node: Node, access: Access) -> None:
        self.node, self.access = node, access


def _fail(number: int, path: str | None = None) -> NoReturn:
    raise OSError(number, os.strerror(number), path)


def _check_path(path: str) -> None:
    if len(encode_name(path)) > _LONGEST_PATH:
        _fail(errno.ENAMETOOLONG)
    for name in path.split("/"):
        if name in {"", ".", ".."}:
            _fail(errno.EINVAL, path)
        if len(encode_name(name)) > _LONGEST:
            _fail(errno.ENAMETOOLONG, path)


def _refuse_mark(path: str) -> None:
    if path.rpartition("/")[2] == MARKER:
        _fail(errno.EACCES, path)


class FsspecBackend(Backend):
    """Serves a file system of fsspec."""

    Options = FsspecOptions
    name: ClassVar[str] = "fsspec"

    options: FsspecOptions

    # Lifecycle.

    def one_process(self) -> str:
        """A store takes whole objects: until then what is written is where it was written."""
        return "has what is written to a file in one process until it is stored"

    def connect(self, share: ShareInfo) -> None:
        """Reach the store. Raises OSError where it does not answer, or has no folder of this path."""
        options = self.options
        self._store = Store(options.url, options.protocol, options.storage_options, options.parallel)
        uid = SERVER_TOKEN.uid if options.uid is None else options.uid
        gid = SERVER_TOKEN.gid if options.gid is None else options.gid
        shown = Shown(device_number(options.url), uid, gid, options.file_mode, options.directory_mode)
        self._tree = Tree(self._store, shown, options)
        self._spool = Spool(options.spool_directory, options.spool_limit)
        self._nodes: dict[str, Node] = {}
        self._names = Turn()
        self._ended = self._retrying = False
        self._check_root()

    def _check_root(self) -> None:
        try:
            if not self._store.check_root().is_directory:
                _fail(errno.ENOTDIR, self.options.url)
        except FileNotFoundError:
            if self.options.make_root:
                self._store.make_root()
            elif not self.options.marks_directories:
                raise

    def disconnect(self) -> None:
        """Write back what is not yet, for the last time, and give the connections back."""
        self._ended = True
        for node in list(self._nodes.values()):
            try:
                node.save(self._store)
            except OSError as error:
                self.log.error("a file is lost", path=node.path, reason=str(error))
            node.drop(self._spool)
        self._nodes.clear()
        self._store.close()

    def capabilities(self, below: Capability) -> Capability:
        """Names are told apart by their case; there is nothing else that every store has."""
        return Capability.CASE_SENSITIVE

    # Opening.

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the root."""
        return self._handle("", self._tree.look(""), Access.PATH)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names."""
        whole = self._path(directory, path)
        try:
            entry = self._look(whole)
            if how.create and how.exclusive:
                _fail(errno.EEXIST, path)
        except FileNotFoundError:
            if not how.create:
                raise
            entry = self._create(whole, how)
        if how.directory and not entry.is_directory:
            _fail(errno.ENOTDIR, path)
        if how.access & Access.WRITE and entry.is_directory:
            _fail(errno.EISDIR, path)
        return self._handle(whole, entry, how.access)

    def _path(self, directory: VfsHandle, path: str) -> str:
        node: Node = directory.private.node
        if node.gone and (path or not node.handles):
            _fail(errno.ENOENT, path)
        whole = join(node.path, path)
        if path:
            _check_path(whole)
        return whole

    def _look(self, path: str) -> Entry:
        node = self._nodes.get(path)
        if node is not None and node.is_local:
            return node.current()
        if path.rpartition("/")[2] == MARKER:
            _fail(errno.ENOENT, path)
        return self._tree.look(path)

    def _create(self, path: str, how: OpenHow) -> Entry:
        _refuse_mark(path)
        with self._names:
            try:
                entry = self._look(path)
            except FileNotFoundError:
                self._require_parent(path)
                return self._tree.make_file(path)
        if how.exclusive:
            _fail(errno.EEXIST, path)
        return entry

    def _require_parent(self, path: str) -> None:
        if not self._look(parent_of(path)).is_directory:
            _fail(errno.ENOTDIR, path)

    def _handle(self, path: str, entry: Entry, access: Access) -> VfsHandle:
        node = self._nodes.get(path)
        if node is None:
            node = self._nodes[path] = Node(path, self._tree.numbers.of(path), entry)
        elif not node.is_local:
            node.entry = entry
        node.handles += 1
        node.readers += bool(access & Access.READ)
        node.writers += bool(access & Access.WRITE)
        return VfsHandle(-1, entry.is_directory, _Opened(node, access))

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back; the last that could write writes the file back."""
        opened: _Opened = handle.private
        handle.private = None
        node = opened.node
        node.readers -= bool(opened.access & Access.READ)
        node.writers -= bool(opened.access & Access.WRITE)
        try:
            if not node.writers and node.is_unsaved:
                node.save(self._store)
        except BaseException as error:  # also where the client is gone
            self._try_again(node, error)
            raise
        finally:
            node.handles -= 1
            self._let_go(node)

    def _let_go(self, node: Node) -> None:
        """Forget a node that nobody has open, but where the store lacks something of it."""
        if node.handles or node.is_unsaved or node.turn.taken:
            return
        if node.is_local:
            self._tree.forget(node.path)
        node.drop(self._spool)
        if self._nodes.get(node.path) is node:
            del self._nodes[node.path]

    # What could not be written back.

    def _try_again(self, node: Node, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        self.log.error("a file cannot be written back, and is tried again", path=node.path, reason=reason)
        self.health.degraded("files could not be written back to the store")
        # Outside a request there is nobody to wait: then `disconnect` is the next to try.
        if not self._retrying and current_task() is not None:
            self._retrying = True
            aside(self._retry)

    def _retry(self) -> None:
        while not self._ended and any(node.is_unsaved and not node.writers for node in self._nodes.values()):
            sleep(self.options.retry_seconds)
            for node in [each for each in self._nodes.values() if each.is_unsaved and not each.writers]:
                if not self._ended:
                    with contextlib.suppress(OSError):
                        node.save(self._store)
                        self.log.info("a file is written back after all", path=node.path)
                    self._let_go(node)
        self._retrying = False
        if not self._ended:
            self.health.ok()

    # Looking.

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names."""
        whole = self._path(directory, path)
        entry = self._look(whole)
        node = self._nodes.get(whole)
        return self._tree.stat(whole, entry) if node is None else self._tree.stat_as(node.number, whole, entry)

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle."""
        node: Node = handle.private.node
        if not node.is_local and not node.gone:
            with contextlib.suppress(FileNotFoundError):  # others have removed it: it is told as it was
                node.entry = self._tree.look(node.path)
        return self._tree.stat_as(node.number, node.path, node.current(), 0 if node.gone else 1)

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory."""
        node: Node = handle.private.node
        if not node.entry.is_directory:
            _fail(errno.ENOTDIR, node.path)
        if node.gone:
            return
        path = node.path
        for name, entry in self._tree.list(path).items():
            yield DirectoryEntry(name, self._stat_listed(join(path, name), entry) if with_attributes else None)

    def _stat_listed(self, path: str, entry: Entry) -> FileStat:
        node = self._nodes.get(path)
        if node is None:
            return self._tree.stat(path, entry)
        return self._tree.stat_as(node.number, path, node.current() if node.is_local else entry)

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """What the options say: stores do not tell what they hold."""
        size = self.options.size
        return VolumeStatistics(BLOCK, size, size, size, self._tree.shown.dev)

    # Names.

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        whole = self._path(directory, path)
        _refuse_mark(whole)
        with self._names:
            self._require_free(whole)
            self._require_parent(whole)
            self._tree.make_directory(whole)

    def _require_free(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._look(path)
            _fail(errno.EEXIST, path)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a file; who has it open to read or write goes on with a local copy."""
        whole = self._path(directory, path)
        with self._names:
            if self._look(whole).is_directory:
                _fail(errno.EISDIR, path)
            self._remove(whole)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        whole = self._path(directory, path)
        with self._names:
            if not self._look(whole).is_directory:
                _fail(errno.ENOTDIR, path)
            if not whole:
                _fail(errno.EBUSY, path)
            self._tree.remove_directory(whole)
            self._unname(whole)

    def _remove(self, path: str) -> None:
        node = self._nodes.get(path)
        if node is not None and (node.readers or node.writers):
            node.fetch(self._store, self._spool, self._tree.look(path).size)
        if node is None:
            self._tree.remove_file(path)
            return
        with node.turn:  # not while it is written back
            self._tree.remove_file(path)
        self._unname(path)

    def _unname(self, path: str) -> None:
        node = self._nodes.pop(path, None)
        if node is not None:
            node.gone = True
            self._tree.numbers.renew(path)
            self._let_go(node)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename. Not atomically where the store cannot: see the store's own `rename`."""
        old, new = self._path(source_directory, source), self._path(target_directory, target)
        _refuse_mark(new)
        with self._names:
            entry = self._look(old)
            if entry.is_directory and new.startswith(old + "/"):
                _fail(errno.EINVAL, target)
            self._require_parent(new)
            if self._make_way(entry, old, new, replace):
                self._move(old, new, entry.is_directory)

    def _make_way(self, entry: Entry, old: str, new: str, replace: bool) -> bool:
        """Remove what has the new name where that may be; False where there is nothing to do."""
        try:
            there = self._look(new)
        except FileNotFoundError:
            return True
        if not replace:
            _fail(errno.EEXIST, new)
        if old == new:
            return False
        if there.is_directory != entry.is_directory:
            _fail(errno.EISDIR if there.is_directory else errno.ENOTDIR, new)
        if there.is_directory:
            self._tree.remove_directory(new)
            self._unname(new)
        else:
            self._remove(new)
        return True

    def _move(self, old: str, new: str, is_directory: bool) -> None:
        moved = [node for path, node in self._nodes.items() if path == old or path.startswith(old + "/")]
        with contextlib.ExitStack() as stack:
            for node in moved:
                stack.enter_context(node.turn)  # not while one is fetched or written back
            self._tree.rename(old, new, is_directory)
            for node in moved:
                del self._nodes[node.path]
                node.path = new + node.path[len(old) :]
                self._nodes[node.path] = node
        for node in moved:
            self._let_go(node)  # it may have been closed meanwhile

    # Data.

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from the local copy, or else from the store."""
        opened: _Opened = handle.private
        if not opened.access & Access.READ:
            _fail(errno.EBADF)
        node = opened.node
        if node.entry.is_directory:
            _fail(errno.EISDIR)
        try:
            return self._read(node, buffer, offset)
        except FileNotFoundError:
            # It may have been renamed or removed just now: while nothing else is, it is where its node says.
            with self._names:
                return self._read(node, buffer, offset)

    def _read(self, node: Node, buffer: memoryview, offset: int) -> int:
        if node.is_local:
            return node.read(buffer, offset)
        end = min(offset + len(buffer), self._tree.look(node.path).size)
        if end <= offset:
            return 0
        data = self._store.read(node.path, offset, end)
        count = min(len(data), len(buffer))
        buffer[:count] = data[:count]
        return count

    def _local(self, handle: VfsHandle, length: int | None = None) -> Node:
        """The node of a handle that may write, with a local copy of its first `length` bytes, or all of it."""
        opened: _Opened = handle.private
        if not opened.access & Access.WRITE:
            _fail(errno.EBADF)
        node = opened.node
        if not node.is_local:
            size = self._tree.look(node.path).size
            node.fetch(self._store, self._spool, size if length is None else min(size, length))
        return node

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write to the local copy."""
        if len(data):
            self._local(handle).write(self._spool, data, offset)
        return len(data)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of the local copy."""
        self._local(handle, length).resize(self._spool, length)

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Return when the store has what was written."""
        node: Node = handle.private.node
        node.save(self._store)

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Nothing: a store has the time at which it got a file, and takes no other."""
