"""Times that a client has set or frozen through an open, and that what is done through it leaves as they are.

MS-FSCC 2.4.7 FileBasicInformation: a time that is set, or -1, stops the automatic changes of that time through this
open; -2 starts them again; 0 says nothing. MS-FSA 2.1.1.6 Per Open has these states as UserSetModificationTime,
UserSetAccessTime and UserSetChangeTime, and 2.1.4.17 Algorithm for Noting That a File Has Been Modified and 2.1.4.19
Algorithm for Noting That a File Has Been Accessed ask for them. Nothing ever changes a creation time automatically.

The file system knows none of this and changes its times, so they are put back afterwards.
"""

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from lamina.ntfsa.times.filetime import from_filetime
from lamina.vfs_modules.operations import Times

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

FREEZE: Final = -1
THAW: Final = -2


class StickyTimes(NamedTuple):
    """The times that an open leaves alone, in nanoseconds since 1970; None changes as usual."""

    access_ns: int | None = None
    write_ns: int | None = None
    change_ns: int | None = None


_NOTHING: Final = StickyTimes()


def stuck(sticky: StickyTimes | None, asked: StickyTimes, now: StickyTimes) -> StickyTimes | None:
    """What sticks after FileBasicInformation asked for the FILETIMEs `asked`, the file's times being `now`.

    None stands for nothing at all, so that whoever reads or writes asks one question only. What is not to be frozen
    need not be known of `now`.
    """
    kept = _NOTHING if sticky is None else sticky
    result = StickyTimes(*map(_one, kept, asked, now))
    return None if result == _NOTHING else result


def _one(current: int | None, filetime: int | None, now: int | None) -> int | None:
    if not filetime:
        return current
    if filetime == FREEZE:
        return now
    return None if filetime == THAW else from_filetime(filetime)


def keeps_write_time(open_: "NtOpen") -> bool:
    """Whether what is written through `open_` leaves the last write time alone."""
    return open_.sticky is not None and open_.sticky.write_ns is not None


def restore_after_read(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Put the access time back if reading through `open_` has changed it."""
    sticky = open_.sticky
    if sticky is None or sticky.access_ns is None:
        return
    # Mostly it has not (relatime, noatime), and to set it would be a change of the file.
    if open_.volume.chain.fstat(token, open_.handle).atime_ns != sticky.access_ns:
        _set(token, open_, Times(sticky.access_ns, None, sticky.change_ns))


def restore_after_change(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Put last write and change time back after the file was changed through `open_`."""
    sticky = open_.sticky
    if sticky is not None and (sticky.write_ns is not None or sticky.change_ns is not None):
        _set(token, open_, Times(None, sticky.write_ns, sticky.change_ns))


def _set(token: "ImpersonationToken", open_: "NtOpen", times: Times) -> None:
    # What was read or written is not undone for a time that was frozen and that the user may not set.
    with contextlib.suppress(OSError):
        open_.volume.chain.set_times(token, open_.handle, times)
