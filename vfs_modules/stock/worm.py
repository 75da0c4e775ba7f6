"""A module that lets files be written once: after a time of grace nobody changes, renames, replaces or removes them.

A file's time of grace begins anew with each change of it (its change time, which no client can set), a directory's when
it is made. What is older cannot be opened for writing, be truncated, be given other attributes, times, permissions or
streams, get further names, be renamed, or be replaced by a file renamed over it. New files can be made beside it.
"""

import errno
import os
import stat as st
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

from pydantic import Field

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, VfsModule, named_by_samba
from lamina.vfs_modules.operations import Access, DirectoryEntry, DosAttributes, FileStat, OpenHow, Operation
from lamina.vfs_modules.readonly_attribute import entries_shown_readonly, shown_readonly
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_ON_HANDLES: Final = frozenset(
    {"pwrite", "ftruncate", "fallocate", "zero_range", "set_times", "fchmod", "fchown", "setxattr", "removexattr"}
    | {"set_dos_attributes", "set_security", "set_compressed", "remove_stream", "rename_stream", "link"}
)
_BETWEEN: Final = frozenset({"copy_range", "clone_range"})


class WormOptions(ModuleOptions):
    """Options of `worm`."""

    samba_names = named_by_samba("worm", "grace_period")

    grace_period: int = Field(
        default=3600, ge=0, description="seconds after its last change in which a file can still be changed"
    )


class WormModule(VfsModule):
    """Lets files be written once. `clock` gives nanoseconds since 1970."""

    Options = WormOptions
    name: ClassVar[str] = "worm"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: WormOptions

    def __init__(self, options: WormOptions | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(options)
        self._clock = clock
        self._grace_ns = self.options.grace_period * 1_000_000_000

    def one_process(self) -> str:
        """All that it goes by is in the files."""
        return ""

    # What is protected.

    def _is_kept(self, stat: FileStat) -> bool:
        since = stat.ctime_ns
        if st.S_ISDIR(stat.mode) and stat.btime_ns is not None:
            # Nothing in a directory is older than it: what is protected was not moved there.
            since = stat.btime_ns
        return self._clock() - since > self._grace_ns

    def _is_kept_file(self, stat: FileStat) -> bool:
        return not st.S_ISDIR(stat.mode) and self._is_kept(stat)

    def _require_free(self, handle: VfsHandle) -> None:
        """Raise EACCES where the file of a handle, or that of its stream, is protected."""
        if self._is_kept_file(self.next.fstat(SERVER_TOKEN, self.state(handle) or handle)):
            raise _refusal("")

    def _require_free_name(self, directory: VfsHandle, path: str) -> None:
        """Raise EACCES where a name is that of something protected, a directory too."""
        if self._is_kept(self.next.stat(SERVER_TOKEN, directory, path)):
            raise _refusal(path)

    # What changes a file that is open.

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Look at the age of the file first, for what is done with a handle."""
        name = operation.name
        if name in _ON_HANDLES:

            def guarded(token: ImpersonationToken, handle: VfsHandle, *arguments: Any, **keywords: Any) -> Any:
                self._require_free(handle)
                return call(token, handle, *arguments, **keywords)

            return guarded
        if name in _BETWEEN:

            def between(
                token: ImpersonationToken, source: VfsHandle, start: int, target: VfsHandle, *arguments: int
            ) -> Any:
                self._require_free(target)
                return call(token, source, start, target, *arguments)

            return between
        return call

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open; what is protected not for writing."""
        handle = self.next.open(token, directory, path, how)
        if how.access & Access.WRITE:
            try:
                self._require_free(handle)
            except BaseException:
                self.next.close(token, handle)
                raise
        return handle

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open a stream; one of a protected file not for writing, and none is made."""
        if how.access & Access.WRITE or how.create:
            self._require_free(handle)
        stream = self.next.open_stream(token, handle, name, how)
        self.set_state(stream, handle)
        return stream

    # What changes names.

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name of what is not protected."""
        self._require_free_name(directory, path)
        self.next.unlink(token, directory, path)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a directory that is not protected."""
        self._require_free_name(directory, path)
        self.next.rmdir(token, directory, path)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename what is not protected, over nothing that is (CVE-2026-2340 was the second of these)."""
        self._require_free_name(source_directory, source)
        if replace:
            try:
                self._require_free_name(target_directory, target)
            except FileNotFoundError:
                replace = False  # what appears there meanwhile is not looked at, and so not replaced
        self.next.rename(token, source_directory, source, target_directory, target, replace)

    # What is seen.

    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """What is protected is read-only."""
        dos = self.next.get_dos_attributes(token, handle, stat)
        return shown_readonly(dos) if self._is_kept_file(stat) else dos

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """What is protected is read-only here too."""
        entries = self.next.readdir(token, handle, with_attributes)
        return entries_shown_readonly(entries, self._is_kept_file) if with_attributes else entries


def _refusal(path: str) -> OSError:
    return OSError(errno.EACCES, "write once: " + os.strerror(errno.EACCES), path)
