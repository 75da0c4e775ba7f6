"""Walking through a directory for one open: what comes next, and for which pattern (MS-FSA 2.1.5.6.3).

The directory is read as the client asks for more. What is there all the time is told once; what comes or goes
meanwhile may or may not be told, and what has gone is passed over.
"""

import errno
import stat as st
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from lamina.ntfsa.listing.pause import PASSED_OVER_AT_ONCE, pause
from lamina.ntfsa.metadata.extended_attributes import has_extended_attributes
from lamina.ntfsa.naming.lookup import join, split, stat_or_none
from lamina.ntfsa.naming.names import fold, present
from lamina.ntfsa.naming.short_name_query import short_names_in
from lamina.ntfsa.naming.wildcard import has_wildcards, matcher
from lamina.ntfsa.security.access_based import is_readable, readable
from lamina.vfs_modules.operations import Access, DirectoryEntry, DosAttributes, FileStat, OpenHow
from lamina.vfs_modules.turn import Turn

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

Listed = tuple[str, FileStat | None, DosAttributes | None, bool]
"""A name as clients see it, what is told of it (not where only names are wanted), and whether it may have EAs."""

_S_IFMT = 0o170000
_PATH_HOW = OpenHow(Access.PATH)


class Enumeration:
    """Where an open has got to in its directory. `begun` is false until an entry was asked for.

    Whoever asks does it in a `with` statement: a slow directory parks its reader, and another request of the same open
    must not come in.
    """

    __slots__ = ("_entries", "_held", "_is_over", "_source", "_turn", "begun", "pattern")

    def __init__(self, token: "ImpersonationToken", open_: "NtOpen", pattern: str, with_attributes: bool) -> None:
        self.pattern = pattern
        self.begun = False
        self._held: Listed | None = None
        self._turn = Turn()
        self._is_over = False
        self._source: Iterator[DirectoryEntry] | None = None
        self._entries: Generator[Listed, None, None] = self._walk(token, open_, with_attributes)

    def __enter__(self) -> None:
        self._turn.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._is_over:
                self._let_go()
        finally:
            self._turn.__exit__(kind, error, traceback)

    def next(self) -> Listed | None:
        """The next entry, or None at the end."""
        held = self._held
        if held is not None:
            self._held = None
            return held
        return next(self._entries, None)

    def hold(self, entry: Listed) -> None:
        """Give an entry back that had no room: it comes first the next time."""
        self._held = entry

    def close(self) -> None:
        """Let go of the directory: at once, or when who is just being told of it has been."""
        self._is_over = True
        if not self._turn.taken:
            self._let_go()

    def _let_go(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
        self._entries.close()

    def _walk(
        self, token: "ImpersonationToken", open_: "NtOpen", with_attributes: bool
    ) -> Generator[Listed, None, None]:
        pattern = self.pattern
        if not has_wildcards(pattern):
            found = _single(token, open_, pattern)
            if found is not None:
                yield found
            return
        match = matcher(pattern)
        everything = match is bool
        for name in (".", ".."):
            if everything or match(name):
                yield name, _stat_of_dots(token, open_, name), None, False
        posix = open_.posix
        source = self._source = _entries_of(token, open_, with_attributes)
        if not everything:
            source = _matching(open_, source, _by_name(token, open_, match))
        for stored, stat, dos, may_have_eas in source:
            name = stored if posix else present(stored)
            if dos is not None and stat is not None and stat.mode & _S_IFMT != st.S_IFLNK:
                yield name, stat, dos, may_have_eas
            elif not with_attributes:
                yield name, None, None, False
            else:
                found = look_at(token, open_, stored, name)
                if found is not None:
                    yield found


def _entries_of(token: "ImpersonationToken", open_: "NtOpen", with_attributes: bool) -> Iterator[DirectoryEntry]:
    volume = open_.volume
    entries = volume.chain.readdir(token, open_.handle, with_attributes)
    return readable(token, open_, entries) if volume.settings.access_based_enumeration else entries


def _matching(
    open_: "NtOpen", entries: Iterator[DirectoryEntry], is_wanted: Callable[[str], object]
) -> Iterator[DirectoryEntry]:
    passed_over = 0
    for entry in entries:
        if is_wanted(entry.name):
            yield entry
            continue
        passed_over += 1
        if not passed_over % PASSED_OVER_AT_ONCE:
            pause(open_)


def _by_name(token: "ImpersonationToken", open_: "NtOpen", match: Callable[[str], object]) -> Callable[[str], object]:
    """Whether a name on disk is wanted: as clients see it, or by its short name (MS-FSA 2.1.5.6.3)."""
    if open_.posix:
        return lambda stored: match(fold(stored))
    short_of = short_names_in(token, open_)
    if short_of is None:
        return lambda stored: match(fold(present(stored)))
    return lambda stored: match(fold(present(stored))) or ((short := short_of(stored)) is not None and match(short))


def _stat_of_dots(token: "ImpersonationToken", open_: "NtOpen", name: str) -> FileStat:
    # Beyond the share's root there is nothing to be told: its parent is shown as itself.
    if name == ".." and open_.vfs_path:
        above = stat_or_none(open_.volume, token, split(open_.vfs_path)[0])
        if above is not None:
            return above
    return open_.volume.chain.fstat(token, open_.handle)


def _single(token: "ImpersonationToken", open_: "NtOpen", pattern: str) -> Listed | None:
    # One name is looked up, not searched for: clients do it before they open a file.
    if pattern in {".", ".."}:
        return pattern, _stat_of_dots(token, open_, pattern), None, False
    volume = open_.volume
    if open_.posix:
        return look_at(token, open_, pattern, pattern)
    name = volume.indexes.find(open_.vfs_path, volume.chain.fstat(token, open_.handle), pattern)
    if name is None or (volume.settings.access_based_enumeration and not is_readable(token, open_, name)):
        return None
    return look_at(token, open_, name, present(name))


def look_at(token: "ImpersonationToken", open_: "NtOpen", name: str, shown: str) -> Listed | None:
    """An entry whose attributes the directory's reading did not bring; None where it is gone or leads nowhere."""
    volume = open_.volume
    path = join(open_.vfs_path, name)
    stat = stat_or_none(volume, token, path, volume.settings.follow_symlinks and not open_.posix)
    if stat is None:
        return None
    if not (st.S_ISREG(stat.mode) or st.S_ISDIR(stat.mode)):
        return shown, stat, None, False
    try:
        handle = volume.chain.open(token, volume.root, path, _PATH_HOW)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        if error.errno == errno.EACCES:
            return shown, stat, None, False
        raise
    try:
        dos = volume.chain.get_dos_attributes(token, handle, stat)
        return shown, stat, dos, has_extended_attributes(volume, token, handle)
    finally:
        volume.chain.close(token, handle)
