"""Access-based enumeration: a listing shows a user what he may read (MS-SMB2 2.2.10, ACCESS_BASED_DIRECTORY_ENUM).

As on Windows an entry is shown to whom its own descriptor gives all of generic read; what its directory gives does not
count, and what is not shown can still be opened by its name. Each entry costs reading its descriptor: where the share
does not ask for this, nothing here is called.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.listing.pause import PASSED_OVER_AT_ONCE, pause
from lamina.ntfsa.naming.lookup import join, stat_or_none
from lamina.ntfsa.security.access import rights_to_path

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.operations import DirectoryEntry
    from lamina.vfs_modules.token import ImpersonationToken

_SHOWN: Final = c.FILE_READ_DATA | c.FILE_READ_EA | c.FILE_READ_ATTRIBUTES | c.READ_CONTROL


def readable(
    token: "ImpersonationToken", open_: "NtOpen", entries: "Iterator[DirectoryEntry]"
) -> "Generator[DirectoryEntry, None, None]":
    """Those of a directory's entries that `token` may read; `entries` is closed with it."""
    passed_over = 0
    try:
        for entry in entries:
            if is_readable(token, open_, entry.name):
                yield entry
                continue
            passed_over += 1
            if not passed_over % PASSED_OVER_AT_ONCE:
                pause(open_)
    finally:
        close = getattr(entries, "close", None)
        if close is not None:
            close()


def is_readable(token: "ImpersonationToken", open_: "NtOpen", name: str) -> bool:
    """Whether `token` may read what has this name in the directory of `open_`; nobody what leads nowhere."""
    volume = open_.volume
    path = join(open_.vfs_path, name)
    try:
        stat = stat_or_none(volume, token, path)
        return stat is not None and not _SHOWN & ~rights_to_path(volume, token, path, stat)
    except OSError:
        return False
