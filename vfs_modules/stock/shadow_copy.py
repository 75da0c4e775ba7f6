"""A module that shows snapshots of the share as previous versions of its files (MS-SMB2 2.2.31.2, 2.2.32.2).

The snapshots are folders beneath the share, made by whatever makes them: one folder holds them all, and the name of
each tells its time. A client asks for the list of times, and reaches a file as it was with a component such as
"@GMT-2026.11.21-09.00.00" in its path. There nothing can be changed.
"""

import errno
import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from pydantic import Field

from lamina.vfs_modules.extensions import OpenedFile, control
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, ShareInfo, VfsModule, named_by_samba
from lamina.vfs_modules.operations import Access, Capability, FileStat, OpenHow, Operation, Target
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

FSCTL_SRV_ENUMERATE_SNAPSHOTS: Final = 0x00144064

_LABEL: Final = "@GMT-%Y.%m.%d-%H.%M.%S"
_COMPONENT: Final = re.compile(r"(?:^|/)(@GMT-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d)(?=/|$)")
_ARRAY: Final = struct.Struct("<III")
_SMALLEST: Final = 16
_LIST: Final = OpenHow(Access.READ, directory=True)


class ShadowCopyOptions(ModuleOptions):
    """Options of `shadow_copy`, called as those of Samba's shadow_copy2."""

    samba_names = named_by_samba("shadow", "snapdir", "format", "localtime")

    snapdir: str = Field(
        default=".snapshots",
        pattern=r"^[^/]+(/[^/]+)*$",
        description="the folder beneath the share that has the snapshots, each a folder with the share's files",
    )
    format: str = Field(default=_LABEL, description="how a snapshot's name tells its time, as strftime(3) writes it")
    localtime: bool = Field(default=False, description="whether that is the machine's local time, or UTC")


def _refuse(path: str = "") -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), path)


class ShadowCopyModule(VfsModule):
    """Shows snapshots as previous versions."""

    Options = ShadowCopyOptions
    name: ClassVar[str] = "shadow_copy"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: ShadowCopyOptions

    def connect(self, share: ShareInfo) -> None:
        """Hold the root of the share."""
        self._root = self.next.open_root(SERVER_TOKEN)
        self._names: dict[str, str] = {}

    def disconnect(self) -> None:
        """Give it back."""
        self.next.close(SERVER_TOKEN, self._root)

    def capabilities(self, below: Capability) -> Capability:
        """Snapshots."""
        return below | Capability.SNAPSHOTS

    # Which there are.

    def _label(self, name: str) -> str | None:
        try:
            when = datetime.strptime(name, self.options.format)
        except ValueError:
            return None
        when = when.astimezone(UTC) if self.options.localtime or when.tzinfo else when.replace(tzinfo=UTC)
        return when.strftime(_LABEL)

    def _look(self) -> dict[str, str]:
        """The snapshots that there are now: labels, the newest first, and names."""
        try:
            listing = self.next.open(SERVER_TOKEN, self._root, self.options.snapdir, _LIST)
        except (FileNotFoundError, NotADirectoryError):
            self._names = {}
            return self._names
        try:
            names = [entry.name for entry in self.next.readdir(SERVER_TOKEN, listing)]
        finally:
            self.next.close(SERVER_TOKEN, listing)
        found = {label: name for name in names if (label := self._label(name)) is not None}
        self._names = dict(sorted(found.items(), reverse=True))
        return self._names

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

    def _there(self, directory: VfsHandle, path: str) -> str | None:
        """The path within its snapshot of what `path` names, or None where it names none."""
        if self.state(directory) or self._is_in_snapshots(path):
            return path
        found = _COMPONENT.search(path) if "@GMT-" in path else None
        if found is None:
            return None
        name = self._names.get(found[1]) or self._look().get(found[1])
        if name is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        rest = path[: found.start()] + path[found.end() :]
        return "/".join(filter(None, (self.options.snapdir, name, rest.strip("/"))))

    def _is_in_snapshots(self, path: str) -> bool:
        folder = self.options.snapdir
        return path.startswith(folder) and path[len(folder) : len(folder) + 1] in {"", "/"}

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open; in a snapshot only what is there. Writing to it is refused when it is tried."""
        there = self._there(directory, path)
        if there is None:
            return self.next.open(token, directory, path, how)
        if how.create and how.exclusive:
            raise _refuse(path)
        if how.access & Access.WRITE:
            how = replace(how, access=Access.READ)  # it is opened, as by Windows and Samba, and writing refused
        try:
            handle = self.next.open(token, directory, there, replace(how, create=False))
        except FileNotFoundError:
            if how.create:
                raise _refuse(path) from None
            raise
        self.set_state(handle, True)
        return handle

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what a path names, also in a snapshot."""
        there = self._there(directory, path)
        return self.next.stat(token, directory, path if there is None else there, follow)

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target of a link, also in a snapshot."""
        there = self._there(directory, path)
        return self.next.readlink(token, directory, path if there is None else there)

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open a stream; one of a file in a snapshot not for writing."""
        is_old = bool(self.state(handle))
        if is_old and (how.create or how.access & Access.WRITE):
            raise _refuse(name)
        stream = self.next.open_stream(token, handle, name, how)
        self.set_state(stream, is_old)
        return stream

    # Nothing changes.

    def _is_old(self, path: str) -> bool:
        return _COMPONENT.search(path) is not None or self._is_in_snapshots(path)

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse what changes something in a snapshot."""
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


def _is_source(operation: Operation, handle: VfsHandle, arguments: tuple[Any, ...]) -> bool:
    """Whether a handle is only read: that is how an old version is copied back."""
    return operation.name in {"copy_range", "clone_range"} and arguments[0] is handle and arguments[2] is not handle
