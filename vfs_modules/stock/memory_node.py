"""What the `memory` backend is made of: nodes, what is open of them, and the refusals of a file system."""

import errno
import os
import stat as st
from typing import Final, NoReturn

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Access, FileStat
from lamina.vfs_modules.token import ImpersonationToken

BLOCK: Final = 4096
"""Bytes that space is given in."""


class Node:
    """A file, directory or symbolic link."""

    __slots__ = (
        "atime", "btime", "children", "ctime", "data", "gid", "ino",
        "mode", "mtime", "nlink", "parent", "streams", "target", "uid", "xattrs",
    )  # fmt: skip

    def __init__(self, ino: int, mode: int, token: ImpersonationToken, now: int) -> None:
        self.ino = ino
        self.mode = mode
        self.uid, self.gid = token.uid, token.gid
        self.nlink = 1
        self.atime = self.mtime = self.ctime = self.btime = now
        self.data = bytearray()
        self.children: dict[str, Node] = {}
        self.parent: Node | None = None
        self.target = ""
        self.xattrs: dict[str, bytes] = {}
        self.streams: dict[str, Node] = {}

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return st.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return st.S_ISLNK(self.mode)

    def stat(self) -> FileStat:
        """What statx would say."""
        size = len(self.target.encode("utf-8", "surrogatepass")) if self.is_link else len(self.data)
        return FileStat(
            1, self.ino, self.mode, self.nlink, self.uid, self.gid, size, -(-size // BLOCK) * BLOCK,
            self.atime, self.mtime, self.ctime, self.btime,
        )  # fmt: skip


class Opened:
    """What the backend keeps for a handle: a node, and what may be done with its data."""

    __slots__ = ("access", "node")

    def __init__(self, node: Node, access: Access) -> None:
        self.node = node
        self.access = access


def check_name(name: str) -> None:
    """ENAMETOOLONG for a name that no file system would take."""
    if len(name.encode("utf-8", "surrogatepass")) > 255:
        fail(errno.ENAMETOOLONG, name)


def fail(number: int, name: str | None = None) -> NoReturn:
    """Raise OSError."""
    raise OSError(number, os.strerror(number), name)


def data_of(handle: VfsHandle, wanted: Access) -> Node:
    """The node of a handle that was opened for this access; EBADF for another."""
    opened: Opened = handle.private
    return opened.node if opened.access & wanted else fail(errno.EBADF)


def refuse_own_child(node: Node, directory: Node | None) -> None:
    """EINVAL where a directory would be moved into itself."""
    while directory is not None:
        if directory is node:
            fail(errno.EINVAL)
        directory = directory.parent


def refuse_replacing(node: Node, replaced: Node) -> None:
    """Refuse to put a directory over a file, a file over a directory, or anything over one with entries."""
    if replaced.is_directory and not node.is_directory:
        fail(errno.EISDIR)
    if node.is_directory and not replaced.is_directory:
        fail(errno.ENOTDIR)
    if replaced.children:
        fail(errno.ENOTEMPTY)
