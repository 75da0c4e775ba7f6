"""How much of a listing is done at once: a folder may have a million entries, and others are to be served meanwhile."""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import breathe

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen

PASSED_OVER_AT_ONCE: Final = 1024
"""Entries that a listing leaves out before others are served."""

LISTED_AT_ONCE: Final = 128
"""Entries that a listing tells before others are served; each costs two system calls and more."""


def pause(open_: "NtOpen") -> None:
    """Let others be served. Raises FILE_CLOSED where one of them has closed the directory."""
    breathe()
    if open_.closed:
        raise NtStatusError(NtStatus.FILE_CLOSED, "closed while it was listed")
