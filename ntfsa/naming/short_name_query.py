"""The short names of a volume's files, where a module of its chain makes them (MS-FSCC 2.4.5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lamina.ntfsa.naming.lookup import split, stat_or_none

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken


def short_name_of(token: "ImpersonationToken", open_: "NtOpen") -> str | None:
    """The short name of an open file, or None where it has none. Raises OSError where its directory cannot be read."""
    indexes = open_.volume.indexes
    directory, name = split(open_.vfs_path)
    stat = stat_or_none(open_.volume, token, directory) if indexes.rule is not None and name else None
    short_of = indexes.shorts_in(directory, stat) if stat is not None else None
    return short_of(name) if short_of is not None else None


def short_names_in(token: "ImpersonationToken", open_: "NtOpen") -> Callable[[str], str | None] | None:
    """What gives the short name of a name on disk in an open directory, or None; None where there are none."""
    volume = open_.volume
    if volume.indexes.rule is None or open_.posix:
        return None
    return volume.indexes.shorts_in(open_.vfs_path, volume.chain.fstat(token, open_.handle))
