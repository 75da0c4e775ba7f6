"""Keeps names that match a pattern out of a share: nothing gets such a name, and what has one is not seen.

Whoever works beside the server may put such files into the folder; clients do not come to see them.
"""

from collections.abc import Iterator
from errno import EACCES, ENOENT
from fnmatch import translate
from re import IGNORECASE, compile
from typing import ClassVar, Literal

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import DirectoryEntry, FileStat, OpenHow
from lamina.vfs_modules.token import ImpersonationToken
from pydantic import Field


class DenyNamesModuleOptions(ModuleOptions):
    """What the administrator may say in [share.NAME.deny_names]."""

    patterns: tuple[str, ...] = Field(default=(), description="names that nothing may have, such as *.exe, in any case")
    present: Literal["hidden", "readable"] = Field(
        default="hidden", description="what is to be with files that have such a name already"
    )


class DenyNamesModule(VfsModule):
    """Refuses names that match a pattern, and hides what has one."""

    Options = DenyNamesModuleOptions
    name: ClassVar[str] = "deny_names"
    api_version: ClassVar[tuple[int, int]] = (1, 4)
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: DenyNamesModuleOptions

    def __init__(self, options: DenyNamesModuleOptions | None = None) -> None:
        super().__init__(options)
        self._denied = compile("|".join(map(translate, self.options.patterns)) or r"(?!)", IGNORECASE).match
        self._hides = self.options.present == "hidden"

    def _refuse(self, path: str) -> None:
        """Nothing gets such a name."""
        if self._denied(path.rpartition("/")[2]):
            raise PermissionError(EACCES, "a name that is not wanted here", path)

    def _hide(self, path: str) -> None:
        """Nothing is found by such a name, nor beneath a folder that has one."""
        if self._hides and any(map(self._denied, path.split("/"))):
            raise FileNotFoundError(ENOENT, "a name that is not shown here", path)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open nothing that is hidden, make nothing of such a name."""
        if how.create:
            self._refuse(path)
        self._hide(path)
        return self.next.open(token, directory, path, how)

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Know nothing of what is hidden."""
        self._hide(path)
        return self.next.stat(token, directory, path, follow)

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """List nothing that is hidden."""
        entries = self.next.readdir(token, handle, with_attributes)
        return (entry for entry in entries if not self._denied(entry.name)) if self._hides else entries

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """Follow no link that is hidden."""
        self._hide(path)
        return self.next.readlink(token, directory, path)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove nothing that is hidden."""
        self._hide(path)
        self.next.unlink(token, directory, path)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove no folder that is hidden."""
        self._hide(path)
        self.next.rmdir(token, directory, path)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make no folder of such a name."""
        self._refuse(path)
        self._hide(path)
        self.next.mkdir(token, directory, path, mode)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Give nothing such a name, and move nothing that is hidden."""
        self._hide(source)
        self._refuse(target)
        self.next.rename(token, source_directory, source, target_directory, target, replace)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give no file such a name beside its own."""
        self._refuse(path)
        self.next.link(token, handle, directory, path)

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make no link of such a name."""
        self._refuse(path)
        self.next.symlink(token, target, directory, path)
