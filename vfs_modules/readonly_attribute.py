"""Showing files as read-only (FILE_ATTRIBUTE_READONLY, MS-FSCC 2.6) that a module does not let anybody change.

The NT level refuses to delete such a file or to open it for writing, before a client is promised what cannot be kept.
"""

from collections.abc import Callable, Iterator
from typing import Final

from lamina.vfs_modules.operations import DirectoryEntry, DosAttributes, FileStat

READONLY: Final = 0x1


def shown_readonly(dos: DosAttributes) -> DosAttributes:
    """The same attributes, and read-only."""
    return dos._replace(attributes=dos.attributes | READONLY)


def entries_shown_readonly(
    entries: Iterator[DirectoryEntry], is_readonly: Callable[[FileStat], bool]
) -> Iterator[DirectoryEntry]:
    """The entries of a directory; those that bring attributes, and are read-only, say so."""
    for entry in entries:
        if entry.dos is not None and entry.stat is not None and is_readonly(entry.stat):
            yield entry._replace(dos=shown_readonly(entry.dos))
        else:
            yield entry
