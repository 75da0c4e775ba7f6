"""The short names of a volume's files, where its settings want them (`short_names`, MS-FSCC 2.4.5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lamina.ntfsa.naming.lookup import split, stat_or_none
from lamina.ntfsa.naming.names import to_posix

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken


def short_name_of(token: "ImpersonationToken", open_: "NtOpen") -> str | None:
    """The short name of an open file, or None where it has none. Raises OSError where its directory cannot be read."""
    indexes = open_.volume.indexes
    directory, name = split(open_.vfs_path)
    stat = stat_or_none(open_.volume, token, directory) if indexes.rule is not None and name else None
    return indexes.short_of(directory, stat, name) if stat is not None else None


def short_names_in(token: "ImpersonationToken", open_: "NtOpen") -> Callable[[str], str] | None:
    """What gives the short name of a name in an open directory, "" where it has none; None where there are none."""
    volume = open_.volume
    if volume.indexes.rule is None:
        return None
    stat = volume.chain.fstat(token, open_.handle)

    def short_name(shown: str) -> str:
        if shown in {".", ".."}:
            return ""
        return volume.indexes.short_of(open_.vfs_path, stat, to_posix(shown)) or ""

    return short_name
