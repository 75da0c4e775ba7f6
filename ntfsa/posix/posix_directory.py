"""Directory listings of class 100, SMB_FIND_FILE_POSIX_INFORMATION (POSIX-FSCC 2.3.1.1), for opens that may ask it."""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.file_state import network_open
from lamina.ntfsa.fscc.posix_information import NULL_SID, PosixDirectoryBuffer, PosixInformation
from lamina.ntfsa.listing.enumeration import Enumeration, Listed, look_at
from lamina.ntfsa.listing.pause import LISTED_AT_ONCE, pause
from lamina.ntfsa.metadata.reparse import is_link, reparse_at
from lamina.ntfsa.naming.lookup import join
from lamina.ntfsa.posix.posix_extensions import posix_information_of
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.times.modification import shown_stat
from lamina.vfs_modules.operations import DosAttributes

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

_NO_DOS: Final = DosAttributes(0, None)


def fill_posix(
    token: "ImpersonationToken",
    open_: "NtOpen",
    enumeration: Enumeration,
    buffer: PosixDirectoryBuffer,
    single: bool,
) -> None:
    """Put the next entries into `buffer`, or with `single` one. Raises INFO_LENGTH_MISMATCH (no room for one entry)."""
    while (entry := enumeration.next()) is not None:
        if entry[1] is None:
            found = look_at(token, open_, entry[0], entry[0])
            if found is None:
                continue
            entry = found
        if not buffer.append(entry[0], _information(token, open_, entry)):
            enumeration.hold(entry)
            if not buffer.count:
                raise NtStatusError(NtStatus.INFO_LENGTH_MISMATCH, "no room for one entry")
            return
        if single:
            return
        if not buffer.count % LISTED_AT_ONCE:
            pause(open_)


def _information(token: "ImpersonationToken", open_: "NtOpen", entry: Listed) -> PosixInformation:
    name, stat, dos, _ = entry
    assert stat is not None
    volume = open_.volume
    stat = shown_stat(volume, stat)
    known = network_open(stat, dos or _NO_DOS, volume.settings.hides(name))
    found = None
    if known.file_attributes & c.FILE_ATTRIBUTE_REPARSE_POINT and not is_link(stat):
        found = reparse_at(volume, token, join(open_.vfs_path, name), stat)
    information = posix_information_of(stat, known, found)
    return _of_nobody(information) if name == ".." and not open_.vfs_path else information


def _of_nobody(information: PosixInformation) -> PosixInformation:
    # What is above a share's root is nobody's business.
    details = information.details._replace(owner=NULL_SID, group=NULL_SID)
    return information._replace(inode=0, device=0, details=details)
