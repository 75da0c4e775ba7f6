"""A backend, the last module of a chain: it keeps files in memory, where another store is to stand."""

from typing import Final

MODULE: Final = '''\
"""Keeps files in the server's memory while a share is served. Begin here: put your store in its place.

A handle's `private` is what this backend wants it to be: an `Opened`. What is not implemented has the contract's
default; the module writer's guide lists all that there is.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, NoReturn

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend, ModuleOptions
from lamina.vfs_modules.operations import (
    Access,
    Capability,
    DirectoryEntry,
    FileStat,
    OpenHow,
    Times,
    VolumeStatistics,
)
from lamina.vfs_modules.token import ImpersonationToken
from pydantic import Field

BLOCK = 4096
LONGEST_NAME = 255


class @Class@Options(ModuleOptions):
    """What the administrator may say in [share.NAME.@name@]."""

    size: int = Field(default=1 << 30, ge=BLOCK, description="bytes that all files together may have")


class Node:
    """A file or a directory, for as long as it has a name or is open."""

    def __init__(self, number: int, mode: int, token: ImpersonationToken) -> None:
        self.number = number
        self.mode = mode
        self.uid, self.gid = token.uid, token.gid
        self.links = 2 if stat.S_ISDIR(mode) else 1
        self.data = bytearray()
        self.children: dict[str, Node] = {}
        self.parent: Node | None = None
        self.accessed = self.written = self.changed = time.time_ns()

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def touch(self) -> None:
        """Its content has changed just now."""
        self.written = self.changed = time.time_ns()

    def stat(self) -> FileStat:
        size = len(self.data)
        return FileStat(
            dev=1,
            ino=self.number,
            mode=self.mode,
            nlink=self.links,
            uid=self.uid,
            gid=self.gid,
            size=size,
            allocated=-(-size // BLOCK) * BLOCK,
            atime_ns=self.accessed,
            mtime_ns=self.written,
            ctime_ns=self.changed,
            btime_ns=None,
        )


class Opened(NamedTuple):
    """What is kept for an open handle."""

    node: Node
    access: Access


def fail(number: int, path: str = "") -> NoReturn:
    """Raise the OSError of an errno."""
    raise OSError(number, os.strerror(number), path)


class @Class@(Backend):
    """Keeps files in the server's memory."""

    Options = @Class@Options
    name: ClassVar[str] = "@name@"
    api_version: ClassVar[tuple[int, int]] = @api@

    options: @Class@Options

    def __init__(self, options: @Class@Options | None = None) -> None:
        super().__init__(options)
        self._root: Node | None = None
        self._last_number = 0
        self._used = 0

    def capabilities(self, below: Capability) -> Capability:
        """What clients are told that this store can do. The conformance suite tries all that is claimed here."""
        return Capability.CASE_SENSITIVE

    # Finding and making. A path has "/" between names, and is never absolute; "" is the directory itself.

    def _find(self, directory: VfsHandle, path: str) -> Node:
        node: Node = directory.private.node
        for name in filter(None, path.split("/")):
            if not node.is_directory:
                fail(errno.ENOTDIR, path)
            node = node.children.get(name) or fail(errno.ENOENT, path)
        return node

    def _find_parent(self, directory: VfsHandle, path: str) -> tuple[Node, str]:
        head, _, name = path.rpartition("/")
        parent = self._find(directory, head)
        if not parent.is_directory:
            fail(errno.ENOTDIR, path)
        if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
            fail(errno.ENAMETOOLONG, path)
        return parent, name

    def _make(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> Node:
        parent, name = self._find_parent(directory, path)
        if name in parent.children:
            fail(errno.EEXIST, path)
        node = parent.children[name] = self._new(token, mode)
        node.parent = parent
        parent.touch()
        return node

    def _new(self, token: ImpersonationToken, mode: int) -> Node:
        self._last_number += 1
        return Node(self._last_number, mode, token)

    # Opening.

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the share's root, which is made when it is first asked for."""
        if self._root is None:
            self._root = self._new(token, stat.S_IFDIR | 0o777)
        return VfsHandle(-1, True, Opened(self._root, Access.PATH))

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open a file or directory, or make a file."""
        try:
            node = self._find(directory, path)
        except FileNotFoundError:
            if not how.create:
                raise
            node = self._make(token, directory, path, stat.S_IFREG | how.mode)
        else:
            if how.create and how.exclusive:
                fail(errno.EEXIST, path)
        if how.directory and not node.is_directory:
            fail(errno.ENOTDIR, path)
        if node.is_directory and how.access & Access.WRITE:
            fail(errno.EISDIR, path)
        return VfsHandle(-1, node.is_directory, Opened(node, how.access))

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back."""
        handle.private = None

    # Looking.

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """What there is under a path."""
        return self._find(directory, path).stat()

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """What is open."""
        return self._node(handle).stat()

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory."""
        node = self._node(handle)
        if not node.is_directory:
            fail(errno.ENOTDIR)
        children = list(node.children.items())
        return (DirectoryEntry(name, child.stat() if with_attributes else None) for name, child in children)

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """How large the store is, and how full."""
        free = self.options.size - self._used
        return VolumeStatistics(BLOCK, self.options.size, free, free, volume_id=id(self) & 0xFFFFFFFF)

    @staticmethod
    def _node(handle: VfsHandle) -> Node:
        node: Node = handle.private.node
        return node

    # Data.

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Read into `buffer`; fewer bytes than asked only at the end."""
        part = self._data_of(handle, Access.READ).data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data`; what lies between the old end and `offset` is zeros."""
        node = self._data_of(handle, Access.WRITE)
        if data:
            self._resize(node, max(len(node.data), offset + len(data)))
            node.data[offset : offset + len(data)] = data
            node.touch()
        return len(data)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end."""
        node = self._data_of(handle, Access.WRITE)
        self._resize(node, length)
        node.touch()

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Nothing is more stable than it is."""

    def _data_of(self, handle: VfsHandle, wanted: Access) -> Node:
        opened: Opened = handle.private
        if not opened.access & wanted:
            fail(errno.EBADF)
        if opened.node.is_directory:
            fail(errno.EISDIR)
        return opened.node

    def _resize(self, node: Node, size: int) -> None:
        more = size - len(node.data)
        if self._used + more > self.options.size:
            fail(errno.ENOSPC)
        if node.links:
            self._used += more
        if more < 0:
            del node.data[size:]
        else:
            node.data.extend(bytes(more))

    # Names.

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        self._make(token, directory, path, stat.S_IFDIR | mode)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a file's name; whoever has it open keeps the file."""
        if self._find(directory, path).is_directory:
            fail(errno.EISDIR, path)
        self._remove(directory, path)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        node = self._find(directory, path)
        if not node.is_directory:
            fail(errno.ENOTDIR, path)
        if node.children:
            fail(errno.ENOTEMPTY, path)
        self._remove(directory, path)

    def _remove(self, directory: VfsHandle, path: str) -> None:
        parent, name = self._find_parent(directory, path)
        self._forget(parent.children.pop(name))
        parent.touch()

    def _forget(self, node: Node) -> None:
        node.links = 0
        self._used -= len(node.data)

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
        node = self._find(source_directory, source)
        old_parent, old_name = self._find_parent(source_directory, source)
        new_parent, new_name = self._find_parent(target_directory, target)
        self._refuse_beneath_itself(node, new_parent, target)
        there = new_parent.children.get(new_name)
        if there is not None and not replace:
            fail(errno.EEXIST, target)
        if there is node:
            return
        if there is not None:
            self._refuse_replacing(node, there, target)
            self._forget(there)
        del old_parent.children[old_name]
        new_parent.children[new_name] = node
        node.parent = new_parent
        node.changed = time.time_ns()
        old_parent.touch()
        new_parent.touch()

    @staticmethod
    def _refuse_beneath_itself(node: Node, parent: Node | None, path: str) -> None:
        while parent is not None:
            if parent is node:
                fail(errno.EINVAL, path)
            parent = parent.parent

    @staticmethod
    def _refuse_replacing(node: Node, there: Node, path: str) -> None:
        if there.is_directory and not node.is_directory:
            fail(errno.EISDIR, path)
        if node.is_directory and not there.is_directory:
            fail(errno.ENOTDIR, path)
        if there.children:
            fail(errno.ENOTEMPTY, path)

    # Attributes.

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set the times that are given, as far as this store keeps them."""
        node = self._node(handle)
        if times.access_ns is not None:
            node.accessed = times.access_ns
        if times.write_ns is not None:
            node.written = times.write_ns
        node.changed = time.time_ns()

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits."""
        node = self._node(handle)
        node.mode = stat.S_IFMT(node.mode) | mode
        node.changed = time.time_ns()

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set the owner and the group; -1 leaves one alone."""
        node = self._node(handle)
        node.uid = node.uid if uid == -1 else uid
        node.gid = node.gid if gid == -1 else gid
        node.changed = time.time_ns()
'''

TESTS: Final = '''\
"""What the backend does."""

from collections.abc import Callable, Iterator

import pytest
from lamina import Server
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.testing import local_chain, make_token

from @package@ import (
    @Class@,
    @Class@Options,
)

CREATE = OpenHow(Access.READ_WRITE, create=True)
TOKEN = make_token()


@pytest.fixture
def chain() -> Iterator[Chain]:
    """The backend as a share has it, with little room."""
    options = @Class@Options(size=8192)
    chain = local_chain("/nowhere", @Class@(options))
    yield chain
    chain.disconnect()


def test_what_has_no_room_is_refused_and_what_is_removed_makes_room(chain: Chain) -> None:
    root = chain.open_root(TOKEN)
    first = chain.open(TOKEN, root, "first", CREATE)
    assert chain.pwrite(TOKEN, first, memoryview(bytes(8000)), 0) == 8000
    second = chain.open(TOKEN, root, "second", CREATE)
    with pytest.raises(OSError, match="No space left"):
        chain.pwrite(TOKEN, second, memoryview(bytes(8000)), 0)
    chain.close(TOKEN, first)
    chain.unlink(TOKEN, root, "first")
    assert chain.statfs(TOKEN, root).available == 8192
    assert chain.pwrite(TOKEN, second, memoryview(bytes(8000)), 0) == 8000


def test_shares_find_the_backend_by_its_name() -> None:
    assert load_module("@name@") is @Class@


def test_a_server_takes_it(lamina_server_factory: Callable[..., Server]) -> None:
    server = lamina_server_factory(chain=["@name@"])
    assert server.port
'''

FILES: Final = {"src/@package@/module.py": MODULE, "tests/test_module.py": TESTS}
"""The files by their paths."""

WORDS: Final = {
    "@kind@": "backend",
    "@does@": "It keeps files in the server's memory while a share is served.",
    "@chain@": '"@name@"',
    "@option@": "size = 1073741824",
    "@options@": "| `size` | 1073741824 | bytes that all files together may have |",
}
"""What is said of it in the files around it."""
