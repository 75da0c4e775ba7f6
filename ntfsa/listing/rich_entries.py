"""Directory entries that tell more, for clients that have agreed on it with a module (RICH_ENTRIES).

What the module knows of a file takes the place of the short name and of the reserved field behind it; EaSize becomes
the rights of the user (MS-FSCC 2.4.20 FileIdBothDirectoryInformation has room for no more).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.naming.lookup import join
from lamina.ntfsa.naming.names import to_posix
from lamina.ntfsa.security.access import limit, rights_by_directory, rights_to
from lamina.vfs_modules.extensions import NO_TRAITS, ClientTrait
from lamina.vfs_modules.operations import Access, OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.fscc.directory_information import DirectoryBuffer
    from lamina.ntfsa.listing.enumeration import Listed
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.extensions import Entries
    from lamina.vfs_modules.operations import FileStat

_LOOK: Final = OpenHow(Access.PATH, follow=False)
_DOTS: Final = frozenset({".", ".."})


def enriching(
    context: "NtContext", open_: "NtOpen", buffer: "DirectoryBuffer", info_class: int
) -> "Callable[[Listed], None] | None":
    """What is to be called for each entry once it is in the buffer; None where nothing more is told."""
    traits, entries = context.client.traits, open_.volume.extensions.entries
    if traits is NO_TRAITS or entries is None or info_class != c.FILE_ID_BOTH_DIRECTORY_INFORMATION:
        return None
    if ClientTrait.RICH_ENTRIES not in traits:
        return None
    hides_ids = ClientTrait.ZERO_FILE_IDS in traits

    def enrich(entry: "Listed") -> None:
        name, stat, *_ = entry
        if hides_ids:
            buffer.hide_file_id()
        if name not in _DOTS and stat is not None:
            _enrich(context, open_, buffer, entries, name, stat)

    return enrich


def _enrich(  # one entry, and all that is known of it
    context: "NtContext",
    open_: "NtOpen",
    buffer: "DirectoryBuffer",
    entries: "Entries",
    name: str,
    stat: "FileStat",
) -> None:
    volume, token, path = open_.volume, context.token, join(open_.vfs_path, to_posix(name))
    try:
        handle = volume.chain.open(token, volume.root, path, _LOOK)
    except OSError:
        return  # it is gone, or nobody may look at it: the entry says what an entry says
    try:
        details = entries(token, handle, stat)
        if details is None:
            return
        rights = 0
        if details.maximal_access:
            dos = volume.chain.get_dos_attributes(token, handle, stat)
            rights = rights_to(volume, token, handle, stat)[0] | rights_by_directory(volume, token, path, stat)
            rights = limit(volume, context, rights, stat, dos.attributes)
        buffer.enrich(rights if details.maximal_access else c.FILE_ALL_ACCESS, details.short_name, details.reserved)
    except OSError:
        return
    finally:
        volume.chain.close(token, handle)
