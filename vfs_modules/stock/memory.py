"""A backend that keeps everything in memory: the reference that the conformance suite is run against, and for tests.

It makes no permission checks of its own, and forgets everything when it is dropped; it never waits. Times come from
the clock of the machine, or from the one it is given.
"""

import errno
import stat as st
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from pydantic import Field

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend, ModuleOptions
from lamina.vfs_modules.operations import (
    Access,
    Capability,
    DirectoryEntry,
    FileStat,
    OpenHow,
    StreamEntry,
    Times,
    VolumeStatistics,
)
from lamina.vfs_modules.stock.memory_node import (
    BLOCK,
    Node,
    Opened,
    check_name,
    data_of,
    fail,
    refuse_own_child,
    refuse_replacing,
)
from lamina.vfs_modules.token import ImpersonationToken

_MAX_LINKS = 40


class MemoryOptions(ModuleOptions):
    """Options of `memory`."""

    size: int = Field(default=1 << 30, gt=0, description="bytes that all files together may hold")


class MemoryBackend(Backend):
    """A share in memory. `clock` gives nanoseconds since 1970."""

    Options = MemoryOptions
    name: ClassVar[str] = "memory"
    provides: ClassVar[tuple[str, ...]] = ("streams",)

    options: MemoryOptions

    def __init__(self, options: MemoryOptions | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(options)
        self._clock = clock
        self._last_ino = 1
        self._root: Node | None = None
        self._used = 0

    def one_process(self) -> str:
        """They would have a file system each."""
        return "has its files in the memory of one process"

    def capabilities(self, below: Capability) -> Capability:
        """Everything that POSIX has."""
        return (
            Capability.CASE_SENSITIVE
            | Capability.HARD_LINKS
            | Capability.SYMLINKS
            | Capability.XATTRS
            | Capability.STREAMS
            | Capability.CREATION_TIME
            | Capability.CHANGE_TIME
            | Capability.DURABLE_HANDLES
        )

    # Resolution.

    def _root_for(self, token: ImpersonationToken) -> Node:
        if self._root is None:
            self._root = Node(1, st.S_IFDIR | 0o755, token, self._clock())
            self._root.nlink = 2
        return self._root

    def _parent_of(self, directory: Node, path: str) -> tuple[Node, str]:
        head, slash, name = path.rpartition("/")
        parent = self._resolve(directory, head, True) if slash else directory
        return (parent, name) if parent.is_directory else fail(errno.ENOTDIR, path)

    def _resolve(self, start: Node, path: str, follow: bool) -> Node:
        """The node that a path names; links are followed in the middle, and at the end where `follow` says so."""
        node = start
        todo = path.split("/")[::-1] if path else []
        links = 0
        while todo:
            directory, name = node, todo.pop()
            node = self._child(directory, name)
            if node.is_link and (todo or follow):
                if self.share is not None and not self.share.follow_symlinks:
                    fail(errno.ELOOP, path)
                links += 1
                if links > _MAX_LINKS:
                    fail(errno.ELOOP, path)
                if node.target.startswith("/"):
                    fail(errno.EXDEV, path)
                todo += node.target.split("/")[::-1]
                node = directory
        return node

    def _child(self, directory: Node, name: str) -> Node:
        if not directory.is_directory:
            fail(errno.ENOTDIR, name)
        if name in {"", "."}:
            return directory
        if name == "..":
            return directory.parent or fail(errno.EXDEV, name)
        return directory.children.get(name) or fail(errno.ENOENT, name)

    def _add(self, directory: Node, name: str, mode: int, token: ImpersonationToken) -> Node:
        if not directory.is_directory:
            fail(errno.ENOTDIR, name)
        if name in directory.children:
            fail(errno.EEXIST, name)
        check_name(name)
        self._last_ino += 1
        node = Node(self._last_ino, mode, token, self._clock())
        if node.is_directory:
            node.nlink, node.parent = 2, directory
            directory.nlink += 1
        directory.children[name] = node
        self._touch(directory)
        return node

    def _touch(self, node: Node, data: bool = True) -> None:
        node.ctime = self._clock()
        if data:
            node.mtime = node.ctime

    # Opening and names.

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open the root."""
        return VfsHandle(-1, True, Opened(self._root_for(token), Access.PATH))

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names."""
        node = self._find_or_create(token, directory.private.node, path, how)
        if how.directory and not node.is_directory:
            fail(errno.ENOTDIR, path)
        if how.access in {Access.WRITE, Access.READ_WRITE} and node.is_directory:
            fail(errno.EISDIR, path)
        if how.access is not Access.PATH and node.is_link:
            fail(errno.ELOOP, path)
        return VfsHandle(-1, node.is_directory, Opened(node, how.access))

    def _find_or_create(self, token: ImpersonationToken, start: Node, path: str, how: OpenHow) -> Node:
        try:
            node = self._resolve(start, path, how.follow and not how.exclusive)
        except FileNotFoundError:
            if not how.create:
                raise
            parent, name = self._parent_of(start, path)
            there = parent.children.get(name)
            if there is not None and there.is_link and how.follow and not how.exclusive:
                return self._find_or_create(token, parent, there.target, how)
            return self._add(parent, name, st.S_IFREG | how.mode, token)
        if how.create and how.exclusive:
            fail(errno.EEXIST, path)
        return node

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back."""
        handle.private = None

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names."""
        return self._resolve(directory.private.node, path, follow).stat()

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        parent, name = self._parent_of(directory.private.node, path)
        self._add(parent, name, st.S_IFDIR | mode, token)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name of a file or link."""
        parent, name = self._parent_of(directory.private.node, path)
        if self._child(parent, name).is_directory:
            fail(errno.EISDIR, path)
        self._drop(parent, name)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        parent, name = self._parent_of(directory.private.node, path)
        node = self._child(parent, name)
        if not node.is_directory:
            fail(errno.ENOTDIR, path)
        if node.children:
            fail(errno.ENOTEMPTY, path)
        self._drop(parent, name)

    def _drop(self, parent: Node, name: str) -> None:
        node = parent.children.pop(name)
        node.nlink -= 2 if node.is_directory else 1
        if node.is_directory:
            parent.nlink -= 1
        elif node.nlink == 0:
            self._used -= len(node.data)
        if not node.nlink:
            self._used -= sum(len(stream.data) for stream in node.streams.values())
        self._touch(node, False)
        self._touch(parent)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename."""
        from_parent, from_name = self._parent_of(source_directory.private.node, source)
        to_parent, to_name = self._parent_of(target_directory.private.node, target)
        node = self._child(from_parent, from_name)
        refuse_own_child(node, to_parent)
        check_name(to_name)
        replaced = to_parent.children.get(to_name)
        if replaced is not None:
            if not replace:
                fail(errno.EEXIST, target)
            if replaced is node:
                return
            refuse_replacing(node, replaced)
            self._drop(to_parent, to_name)
        del from_parent.children[from_name]
        to_parent.children[to_name] = node
        if node.is_directory:
            node.parent = to_parent
            from_parent.nlink -= 1
            to_parent.nlink += 1
        self._touch(node, False)
        self._touch(from_parent)
        self._touch(to_parent)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give a file a further name."""
        node: Node = handle.private.node
        parent, name = self._parent_of(directory.private.node, path)
        if node.is_directory:
            fail(errno.EPERM, path)
        check_name(name)
        if name in parent.children:
            fail(errno.EEXIST, path)
        if not node.nlink:
            fail(errno.ENOENT, path)
        parent.children[name] = node
        node.nlink += 1
        self._touch(node, False)
        self._touch(parent)

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link."""
        parent, name = self._parent_of(directory.private.node, path)
        self._add(parent, name, st.S_IFLNK | 0o777, token).target = target

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target of a symbolic link."""
        node = self._resolve(directory.private.node, path, False)
        return node.target if node.is_link else fail(errno.EINVAL, path)

    # Data.

    def pread(self, token: ImpersonationToken, handle: VfsHandle, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`."""
        node = data_of(handle, Access.READ)
        if node.is_directory:
            fail(errno.EISDIR)
        part = node.data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def pwrite(self, token: ImpersonationToken, handle: VfsHandle, data: memoryview, offset: int) -> int:
        """Write all of `data`."""
        node = data_of(handle, Access.WRITE)
        if len(data):
            self._resize(node, max(len(node.data), offset + len(data)))
            node.data[offset : offset + len(data)] = data
            self._touch(node)
        return len(data)

    def ftruncate(self, token: ImpersonationToken, handle: VfsHandle, length: int) -> None:
        """Set the end of file."""
        node = data_of(handle, Access.WRITE)
        self._resize(node, length)
        self._touch(node)

    def copy_range(
        self,
        token: ImpersonationToken,
        source: VfsHandle,
        source_offset: int,
        target: VfsHandle,
        target_offset: int,
        length: int,
    ) -> int:
        """Copy bytes."""
        origin = data_of(source, Access.READ)
        if origin is data_of(target, Access.WRITE) and abs(source_offset - target_offset) < length:
            fail(errno.EINVAL)
        part = bytes(origin.data[source_offset : source_offset + length])
        return self.pwrite(token, target, memoryview(part), target_offset)

    def zero_range(
        self, token: ImpersonationToken, handle: VfsHandle, offset: int, length: int, deallocate: bool
    ) -> None:
        """Write zeros; there is no space to give back."""
        zeros = bytes(max(min(length, len(handle.private.node.data) - offset), 0))
        self.pwrite(token, handle, memoryview(zeros), offset)

    def _resize(self, node: Node, length: int) -> None:
        growth = length - len(node.data)
        if self._used + growth > self.options.size:
            fail(errno.ENOSPC)
        self._used += growth
        if growth < 0:
            del node.data[length:]
        else:
            node.data += bytes(growth)

    def fsync(self, token: ImpersonationToken, handle: VfsHandle, data_only: bool = False) -> None:
        """Nothing is more stable than it is."""

    # Directories and attributes.

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries of a directory."""
        node: Node = handle.private.node
        if not node.is_directory:
            fail(errno.ENOTDIR)
        for name, child in list(node.children.items()):
            yield DirectoryEntry(name, child.stat() if with_attributes else None)

    def statfs(self, token: ImpersonationToken, handle: VfsHandle) -> VolumeStatistics:
        """What may be held and what is."""
        free = self.options.size - self._used
        return VolumeStatistics(BLOCK, self.options.size, free, free, id(self) & 0xFFFFFFFF)

    def fstat(self, token: ImpersonationToken, handle: VfsHandle) -> FileStat:
        """Look at the file of a handle."""
        node: Node = handle.private.node
        return node.stat()

    def set_times(self, token: ImpersonationToken, handle: VfsHandle, times: Times) -> None:
        """Set the times; this backend keeps all four."""
        node: Node = handle.private.node
        self._touch(node, False)
        node.atime = node.atime if times.access_ns is None else times.access_ns
        node.mtime = node.mtime if times.write_ns is None else times.write_ns
        node.ctime = node.ctime if times.change_ns is None else times.change_ns
        node.btime = node.btime if times.creation_ns is None else times.creation_ns

    def fchmod(self, token: ImpersonationToken, handle: VfsHandle, mode: int) -> None:
        """Set the permission bits."""
        node: Node = handle.private.node
        node.mode = st.S_IFMT(node.mode) | st.S_IMODE(mode)
        self._touch(node, False)

    def fchown(self, token: ImpersonationToken, handle: VfsHandle, uid: int, gid: int) -> None:
        """Set owner and group."""
        node: Node = handle.private.node
        node.uid = node.uid if uid == -1 else uid
        node.gid = node.gid if gid == -1 else gid
        self._touch(node, False)

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The value of an extended attribute."""
        xattrs: dict[str, bytes] = handle.private.node.xattrs
        return xattrs[name] if name in xattrs else fail(errno.ENODATA, name)

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Create or replace an extended attribute."""
        if handle.private.node.is_link and name.startswith("user."):
            fail(errno.EPERM, name)
        handle.private.node.xattrs[name] = bytes(value)
        self._touch(handle.private.node, False)

    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove an extended attribute."""
        if handle.private.node.xattrs.pop(name, None) is None:
            fail(errno.ENODATA, name)
        self._touch(handle.private.node, False)

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The names of the extended attributes."""
        return list(handle.private.node.xattrs)

    # Streams.

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open or create a stream: a node that is in no directory."""
        node: Node = handle.private.node
        stream = node.streams.get(name)
        if stream is None:
            if not how.create:
                fail(errno.ENOENT, name)
            check_name(name)
            stream = node.streams[name] = Node(node.ino, st.S_IFREG | how.mode, token, self._clock())
            self._touch(node, False)
        elif how.create and how.exclusive:
            fail(errno.EEXIST, name)
        return VfsHandle(-1, False, Opened(stream, how.access))

    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The streams of a file."""
        streams: dict[str, Node] = handle.private.node.streams
        return [StreamEntry(name, *stream.stat()[6:8]) for name, stream in streams.items()]

    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a stream."""
        node: Node = handle.private.node
        stream = node.streams.pop(name, None) or fail(errno.ENOENT, name)
        self._used -= len(stream.data)
        self._touch(node, False)

    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Give a stream another name."""
        streams: dict[str, Node] = handle.private.node.streams
        if source not in streams:
            fail(errno.ENOENT, source)
        if source == target:
            return
        check_name(target)
        if target in streams:
            if not replace:
                fail(errno.EEXIST, target)
            self.remove_stream(token, handle, target)
        streams[target] = streams.pop(source)
