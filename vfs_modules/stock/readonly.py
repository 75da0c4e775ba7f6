"""A module that lets nobody change anything, always or for a span of time.

What is open for writing when the span begins can be written to no more; when it ends, it can again.
"""

import errno
import os
import stat as st
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from pydantic import Field, field_validator

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, VfsModule, named_by_samba
from lamina.vfs_modules.operations import Access, DirectoryEntry, DosAttributes, FileStat, OpenHow, Operation
from lamina.vfs_modules.period import parse_period
from lamina.vfs_modules.readonly_attribute import entries_shown_readonly, shown_readonly
from lamina.vfs_modules.token import ImpersonationToken

_BY_HOW = frozenset({"open", "open_stream"})


class ReadonlyOptions(ModuleOptions):
    """Options of `readonly`."""

    samba_names = named_by_samba("readonly", "period")

    period: tuple[str, str] = Field(
        default=("today 0:0", "tomorrow 0:0"),
        description="from when until when nothing can be changed, in local time; by default always",
    )

    @field_validator("period", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        # Samba has both in one text.
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("period")
    @classmethod
    def _known(cls, value: tuple[str, str]) -> tuple[str, str]:
        parse_period(*value)
        return value


def _refuse(path: str = "") -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


class ReadonlyModule(VfsModule):
    """Lets nobody change anything. `clock` tells the local time."""

    Options = ReadonlyOptions
    name: ClassVar[str] = "readonly"
    before: ClassVar[tuple[str, ...]] = ("streams", "security", "dos_attributes")

    options: ReadonlyOptions

    def __init__(self, options: ReadonlyOptions | None = None, clock: Callable[[], datetime] = datetime.now) -> None:
        super().__init__(options)
        self._clock = clock
        self._period = parse_period(*self.options.period)

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    def _is_now(self) -> bool:
        return self._period.contains(self._clock())

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse what changes anything, while it is time."""
        if not operation.mutates or operation.name in _BY_HOW:
            return call

        def guarded(*arguments: Any, **keywords: Any) -> Any:
            if self._is_now():
                _refuse()
            return call(*arguments, **keywords)

        return guarded

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open for looking and reading."""
        if self._is_now():
            how = _harmless(path, how)
        try:
            return self.next.open(token, directory, path, how)
        except FileNotFoundError:
            if how.exclusive and not how.create:
                _refuse(path)
            raise

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open a stream for reading."""
        if self._is_now():
            how = _harmless(name, how)
        try:
            return self.next.open_stream(token, handle, name, how)
        except FileNotFoundError:
            if how.exclusive and not how.create:
                _refuse(name)
            raise

    def get_dos_attributes(self, token: ImpersonationToken, handle: VfsHandle, stat: FileStat) -> DosAttributes:
        """Files are read-only, while it is time."""
        dos = self.next.get_dos_attributes(token, handle, stat)
        return shown_readonly(dos) if self._is_now() and not st.S_ISDIR(stat.mode) else dos

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """Files are read-only here too."""
        entries = self.next.readdir(token, handle, with_attributes)
        if not with_attributes or not self._is_now():
            return entries
        return entries_shown_readonly(entries, lambda stat: not st.S_ISDIR(stat.mode))


def _harmless(path: str, how: OpenHow) -> OpenHow:
    """How to open instead, without making anything."""
    if how.access & Access.WRITE:
        _refuse(path)
    return replace(how, create=False, exclusive=how.create) if how.create else how
