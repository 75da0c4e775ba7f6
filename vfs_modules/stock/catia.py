"""Writes certain characters of names otherwise for clients than they are stored, in the form of Samba's `catia`.

Macs, and some programs, use characters that NT reserves; on the wire they stand for themselves as characters that are
not reserved. ntfsa shows every reserved character as U+F000 and its code, and takes that back; what a mapping says of
such a character is therefore met here under the character itself, but for streams, whose names come as they are.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from lamina.vfs_modules.changes import LOST, Change, ChangeQuery, ChangeWatch
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, ShareInfo, VfsModule, named_by_samba
from lamina.vfs_modules.operations import (
    DirectoryEntry,
    EntryXattrs,
    FileStat,
    NameEvent,
    OpenHow,
    StreamEntry,
    Watch,
)
from lamina.vfs_modules.token import ImpersonationToken

_PRIVATE: Final = 0xF000
_RESERVED: Final = frozenset('"*:<>?\\|') | frozenset(map(chr, range(1, 32)))
_PAIR: Final = re.compile(r"\s*(0x[0-9a-fA-F]{1,6})\s*:\s*(0x[0-9a-fA-F]{1,6})\s*")

MAC: Final = {chr(code): chr(_PRIVATE + code) for code in range(1, 32)} | {
    char: chr(_PRIVATE + 0x20 + at) for at, char in enumerate('"*:<>?\\|')
}
"""How Macs write the characters that NT reserves: stored, and as it comes from them."""


def parse_mappings(given: str) -> dict[str, str]:
    """The pairs of "0xSTORED:0xSHOWN,…", those of Macs for "". Raises ValueError for anything else."""
    pairs: dict[str, str] = {}
    for item in filter(None, given.split(",")):
        match = _PAIR.fullmatch(item)
        if match is None:
            raise ValueError(f'{item.strip()!r} is not of the form "0x22:0xa8"')
        stored, shown = (int(code, 16) for code in match.groups())
        if max(stored, shown) > 0x10FFFF or 0 in (stored, shown):
            raise ValueError(f"{item.strip()!r} names no character that a file name can have")
        if chr(stored) in pairs:
            raise ValueError(f"{item.strip()!r} maps a character a second time")
        pairs[chr(stored)] = chr(shown)
    return _checked(pairs) if pairs else dict(MAC)


def _checked(pairs: dict[str, str]) -> dict[str, str]:
    if len(set(pairs.values())) < len(pairs):
        raise ValueError("two characters are shown as one: nobody could tell which of them a client means")
    # Samba's examples map "/", which never has an effect: no stored name has one.
    pairs.pop("/", None)
    if any("/" in pair or "." in pair for pair in pairs.items()):
        raise ValueError('"/" and "." are parts of paths, and stand for themselves')
    return pairs


def _valid(given: str) -> str:
    parse_mappings(given)
    return given


class CatiaOptions(ModuleOptions):
    """Options of `catia`."""

    samba_names = named_by_samba("catia", "mappings")

    mappings: Annotated[str, AfterValidator(_valid)] = Field(
        default="",
        description='pairs of characters, stored and shown: "0x22:0xa8,0x2a:0xa4"; without any, those of Macs',
    )


def _at_the_top(char: str) -> str:
    """How a character that clients see is met here, in the name of a file."""
    plain = chr(ord(char) - _PRIVATE) if _PRIVATE < ord(char) < _PRIVATE + 0x80 else char
    return plain if plain in _RESERVED else char


_Table = dict[int, str]


def _tables(pairs: Mapping[str, str]) -> tuple[_Table, _Table]:
    """From stored to shown, and back."""
    whole = {stored: shown for stored, shown in completed(pairs).items() if stored != shown}
    return str.maketrans(whole), str.maketrans({shown: stored for stored, shown in whole.items()})


def completed(pairs: Mapping[str, str]) -> dict[str, str]:
    """The mapping with what makes every name come back as it went.

    A character that stands for another must itself be stored as something: as the one at the other end, which nothing
    else is shown as.
    """
    whole = dict(pairs)
    backwards = {shown: stored for stored, shown in pairs.items()}
    for last in backwards.keys() - pairs.keys():
        first = last
        while first in backwards:
            first = backwards[first]
        whole[last] = first
    return whole


class CatiaModule(VfsModule):
    """Maps characters."""

    Options = CatiaOptions
    name: ClassVar[str] = "catia"
    before: ClassVar[tuple[str, ...]] = ("fruit", "streams")

    options: CatiaOptions

    def one_process(self) -> str:
        """All that it keeps is in the files."""
        return ""

    def connect(self, share: ShareInfo) -> None:
        """Make the tables, in both directions."""
        pairs = parse_mappings(self.options.mappings)
        self._shown, self._stored = _tables({stored: _at_the_top(shown) for stored, shown in pairs.items()})
        self._shown_stream, self._stored_stream = _tables(pairs)

    def _down(self, path: str) -> str:
        return path.translate(self._stored)

    def _up(self, path: str) -> str:
        return path.translate(self._shown)

    # Files.

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open."""
        return self.next.open(token, directory, self._down(path), how)

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look."""
        return self.next.stat(token, directory, self._down(path), follow)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        self.next.mkdir(token, directory, self._down(path), mode)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name."""
        self.next.unlink(token, directory, self._down(path))

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a directory."""
        self.next.rmdir(token, directory, self._down(path))

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
        self.next.rename(token, source_directory, self._down(source), target_directory, self._down(target), replace)

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give a file another name."""
        self.next.link(token, handle, directory, self._down(path))

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link, to what the stored name of its target is."""
        self.next.symlink(token, self._down(target), directory, self._down(path))

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """The target as clients see it."""
        return self._up(self.next.readlink(token, directory, self._down(path)))

    def readdir(
        self, token: ImpersonationToken, handle: VfsHandle, with_attributes: bool = False
    ) -> Iterator[DirectoryEntry]:
        """The entries as clients see them."""
        entries = self.next.readdir(token, handle, with_attributes)
        return (entry._replace(name=self._up(entry.name)) for entry in entries)

    def getxattrs_in(
        self, token: ImpersonationToken, directory: VfsHandle, entries: Sequence[str], names: Sequence[str]
    ) -> list[EntryXattrs]:
        """The extended attributes of entries by the names that clients see."""
        return self.next.getxattrs_in(token, directory, [self._down(entry) for entry in entries], names)

    # Changes.

    def watch(self, token: ImpersonationToken, handle: VfsHandle) -> Watch:
        """Names come and go as clients see them."""
        return _MappedWatch(self.next.watch(token, handle), self._up)

    def watch_changes(self, token: ImpersonationToken, handle: VfsHandle, query: ChangeQuery) -> ChangeWatch:
        """Changes are told under the names that clients see."""
        skip = query.skip
        below = query if skip is None else query._replace(skip=lambda path: skip(self._up(path)))
        return _MappedChanges(self.next.watch_changes(token, handle, below), self._up)

    # Streams.

    def open_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str, how: OpenHow) -> VfsHandle:
        """Open a stream."""
        return self.next.open_stream(token, handle, name.translate(self._stored_stream), how)

    def list_streams(self, token: ImpersonationToken, handle: VfsHandle) -> list[StreamEntry]:
        """The streams as clients see them."""
        streams = self.next.list_streams(token, handle)
        return [entry._replace(name=entry.name.translate(self._shown_stream)) for entry in streams]

    def remove_stream(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove a stream."""
        self.next.remove_stream(token, handle, name.translate(self._stored_stream))

    def rename_stream(
        self, token: ImpersonationToken, handle: VfsHandle, source: str, target: str, replace: bool
    ) -> None:
        """Rename a stream."""
        table = self._stored_stream
        self.next.rename_stream(token, handle, source.translate(table), target.translate(table), replace)


class _MappedWatch:
    """A watch whose names are mapped."""

    def __init__(self, watch: Watch, mapped: Callable[[str], str]) -> None:
        self._watch = watch
        self._mapped = mapped

    def poll(self) -> list[NameEvent]:
        """What happened."""
        events = self._watch.poll()
        return [NameEvent(kind, self._mapped(name) if name is not None else None) for kind, name in events]

    def close(self) -> None:
        """Stop."""
        self._watch.close()


class _MappedChanges:
    """Changes whose paths are mapped."""

    def __init__(self, watch: ChangeWatch, mapped: Callable[[str], str]) -> None:
        self._watch = watch
        self._mapped = mapped

    def poll(self) -> list[Change]:
        """What happened."""
        return [change if change is LOST else self._map(change) for change in self._watch.poll()]

    def _map(self, change: Change) -> Change:
        return change._replace(path=self._mapped(change.path), target=self._mapped(change.target))

    def close(self) -> None:
        """Stop."""
        self._watch.close()
