"""A module that shows snapshots of the share as previous versions of its files (MS-SMB2 2.2.31.2, 2.2.32.2).

Who makes the snapshots, and where they are, is a provider's to know (`lamina.vfs_modules.snapshots`). A client asks for
the list of times, and reaches a file as it was with a component such as "@GMT-2026.11.21-09.00.00" in its path. There
nothing can be changed.
"""

import errno
import hashlib
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Final

from lamina.vfs_modules.extensions import OpenedFile, control
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ShareInfo, VfsModule
from lamina.vfs_modules.operations import Access, Capability, FileStat, OpenHow, Operation, Target
from lamina.vfs_modules.snapshots import Snapshot, SnapshotProvider, make_provider
from lamina.vfs_modules.stock.snapshotting.folders import FolderSnapshots
from lamina.vfs_modules.stock.snapshotting.options import ShadowCopyOptions, label_of
from lamina.vfs_modules.stock.snapshotting.subvolumes import BtrfsSnapshots
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

FSCTL_SRV_ENUMERATE_SNAPSHOTS: Final = 0x00144064

_COMPONENT: Final = re.compile(r"(?:^|/)(@GMT-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d)(?=/|$)")
_ARRAY: Final = struct.Struct("<III")
_SMALLEST: Final = 16
_STOCK: Final[dict[str, type[FolderSnapshots]]] = {"folders": FolderSnapshots, "btrfs": BtrfsSnapshots}


def _refuse(path: str = "") -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), path)


class _Old:
    """What is kept of a handle that is in a snapshot: `mask`, by which file ids there differ (0: not at all)."""

    __slots__ = ("mask",)

    def __init__(self, mask: int) -> None:
        self.mask = mask


class ShadowCopyModule(VfsModule):
    """Shows snapshots as previous versions. `provider`: who knows them, instead of the one that the options name."""

    Options = ShadowCopyOptions
    name: ClassVar[str] = "shadow_copy"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: ShadowCopyOptions

    def __init__(self, options: ShadowCopyOptions | None = None, provider: SnapshotProvider | None = None) -> None:
        super().__init__(options)
        kind = _STOCK.get(self.options.provider)
        if provider is None and kind is not None:
            provider = kind(self.options)
        self._provider = provider or make_provider(self.options.provider, self.options.provider_options)

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Hold the root of the share."""
        self._known: dict[str, Snapshot] = {}
        self._root = self.next.open_root(SERVER_TOKEN)
        try:
            self._provider.connect(share, self.next, self._root)
        except BaseException:
            self.next.close(SERVER_TOKEN, self._root)
            raise

    def disconnect(self) -> None:
        """Give it back."""
        self._provider.disconnect()
        self.next.close(SERVER_TOKEN, self._root)

    def capabilities(self, below: Capability) -> Capability:
        """Snapshots."""
        return below | Capability.SNAPSHOTS

    # Which there are.

    def _look(self) -> dict[str, Snapshot]:
        """The snapshots that there are now by their labels, in the order in which clients are told of them."""
        found = {
            label: snapshot for snapshot in self._provider.snapshots() if (label := label_of(snapshot.when)) is not None
        }
        if self.options.sort != "none":
            found = dict(sorted(found.items(), reverse=self.options.sort == "desc"))
        self._known = found
        return found

    @control(FSCTL_SRV_ENUMERATE_SNAPSHOTS)
    def enumerate_snapshots(self, token: ImpersonationToken, opened: OpenedFile, data: memoryview, room: int) -> bytes:
        """The times of all snapshots (SRV_SNAPSHOT_ARRAY); where there is no room for them, how much is needed."""
        if room < _SMALLEST:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        labels = list(self._look())
        texts = "".join(label + "\0" for label in labels).encode("utf-16-le") + b"\0\0"
        if _ARRAY.size + len(texts) > room:
            return _ARRAY.pack(len(labels), 0, len(texts)) + bytes(_SMALLEST - _ARRAY.size)
        return (_ARRAY.pack(len(labels), len(labels), len(texts)) + texts).ljust(_SMALLEST, b"\0")

    # Where a path leads.

    @contextmanager
    def _there(self, directory: VfsHandle, path: str) -> Iterator[tuple[VfsHandle, str, _Old | None]]:
        """The directory and the path in it that a path means; and what to note of it where that is in a snapshot."""
        old: _Old | None = self.state(directory)
        if old is None and self._provider.hides(path):
            old = _Old(0)
        found = _COMPONENT.search(path) if old is None and "@GMT-" in path else None
        if found is None:
            yield directory, path, old
            return
        snapshot = self._known.get(found[1]) or self._look().get(found[1])
        if snapshot is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        # Opened each time: it may be removed, and is not to be held back.
        root = self._provider.open_root(snapshot)
        try:
            yield root, (path[: found.start()] + path[found.end() :]).strip("/"), _Old(self._mask(found[1]))
        finally:
            self.next.close(SERVER_TOKEN, root)

    def _mask(self, label: str) -> int:
        if not self.options.fixinodes:
            return 0
        return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "little") >> 1

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open; in a snapshot only what is there. Writing to it is refused when it is tried."""
        with self._there(directory, path) as (folder, inner, old):
            if old is None:
                return self.next.open(token, folder, inner, how)
            if how.create and how.exclusive:
                raise _refuse(path)
            if how.access & Access.WRITE:
                how = replace(how, access=Access.READ)  # it is opened, as by Windows and Samba, and writing refused
            try:
                handle = self.next.open(token, folder, inner, replace(how, create=False))
            except FileNotFoundError:
                if how.create:
                    raise _refuse(path) from None
                raise
            self.set_state(handle, old)
            return handle

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what a path names, also in a snapshot."""
        with self._there(directory, path) as (folder, inner, old):
            return _masked(self.next.stat(token, folder, inner, follow), old)

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target of a link, also in a snapshot."""
        with self._there(directory, path) as (folder, inner, _):
            return self.next.readlink(token, folder, inner)

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open a stream; one of a file in a snapshot not for writing."""
        old: _Old | None = self.state(handle)
        if old is not None and (how.create or how.access & Access.WRITE):
            raise _refuse(name)
        stream = self.next.open_stream(token, handle, name, how)
        if old is not None:
            self.set_state(stream, old)
        return stream

    # Nothing changes.

    def _is_old(self, path: str) -> bool:
        return _COMPONENT.search(path) is not None or self._provider.hides(path)

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse what changes something in a snapshot, and let files there have ids of their own where asked."""
        if self.options.fixinodes and operation.name in {"fstat", "readdir"}:
            return self._with_other_ids(operation.name, call)
        if not operation.mutates or operation.name in {"open", "open_stream"}:
            return call

        def guarded(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            for value in (*arguments, *keywords.values()):
                if isinstance(value, VfsHandle) and self.state(value) and not _is_source(operation, value, arguments):
                    raise _refuse()
                if operation.target is Target.PATH and isinstance(value, str) and self._is_old(value):
                    raise _refuse(value)
            return call(token, *arguments, **keywords)

        return guarded

    def _with_other_ids(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def fstat(token: ImpersonationToken, handle: VfsHandle) -> FileStat:
            return _masked(call(token, handle), self.state(handle))

        def readdir(token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False) -> Any:
            old: _Old | None = self.state(handle)
            for entry in call(token, handle, with_attributes):
                yield entry if old is None or entry.stat is None else entry._replace(stat=_masked(entry.stat, old))

        return fstat if name == "fstat" else readdir


def _masked(stat: FileStat, old: _Old | None) -> FileStat:
    return stat if old is None or not old.mask else stat._replace(ino=stat.ino ^ old.mask)


def _is_source(operation: Operation, handle: VfsHandle, arguments: tuple[Any, ...]) -> bool:
    """Whether a handle is only read: that is how an old version is copied back."""
    return operation.name in {"copy_range", "clone_range"} and arguments[0] is handle and arguments[2] is not handle


__all__ = ["FSCTL_SRV_ENUMERATE_SNAPSHOTS", "ShadowCopyModule", "ShadowCopyOptions"]
