"""Marking files that a backup has yet to see: FILE_ATTRIBUTE_ARCHIVE.

MS-FSA 2.1.4.17 Algorithm for Noting That a File Has Been Modified sets the attribute. Who opens the file looks at its
attributes anyway, so the open knows whether there is anything to do.
"""

import contextlib
from typing import TYPE_CHECKING

from lamina.ntfsa.constants import FILE_ATTRIBUTE_ARCHIVE
from lamina.vfs_modules.operations import DosAttributes

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.record import FileKey
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken


def mark_archive(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Set the attribute where it is not set and can be."""
    open_.unarchived = False
    chain, handle = open_.volume.chain, open_.handle
    attributes = chain.get_dos_attributes(token, handle, chain.fstat(token, handle)).attributes
    if not attributes & FILE_ATTRIBUTE_ARCHIVE:
        with contextlib.suppress(OSError):
            chain.set_dos_attributes(token, handle, DosAttributes(attributes | FILE_ATTRIBUTE_ARCHIVE, None))


def note_attributes(open_: "NtOpen", attributes: int) -> None:
    """The file has these attributes from now on: whoever writes next has to mark it, or not."""
    note_locally(open_.volume, open_.file_key, attributes)
    if open_.volume.peers is not None:
        open_.volume.peers.attributes_changed(open_.file_key, attributes)


def note_locally(volume: "NtVolume", key: "FileKey", attributes: int) -> None:
    """The same, for the opens of this process."""
    for other in volume.opens_of(key):
        other.unarchived = not attributes & FILE_ATTRIBUTE_ARCHIVE
