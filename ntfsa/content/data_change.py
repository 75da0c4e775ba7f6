"""Changing a file's data other than by a write: what a write does before and after, around any change.

Locks of others are respected, what they cache ends, the last write time and whoever watches the directory learn of it
(MS-FSA 2.1.5.4 Server Requests a Write, which the control codes on ranges refer to).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lamina.ntfsa.content.data import finish_write
from lamina.ntfsa.fscc.notify_information import WRITTEN
from lamina.ntfsa.grants.grant_breaks import data_changes
from lamina.ntfsa.locks.byte_range import write_conflict
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_changes import tell_data_changed
from lamina.ntfsa.times.modification import note_first_write

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

_T = TypeVar("_T")


def change_range(
    token: "ImpersonationToken", open_: "NtOpen", offset: int, length: int, change: Callable[[], _T]
) -> _T:
    """Run `change`, which alters `length` bytes from `offset` of the file.

    Raises FILE_LOCK_CONFLICT, and what `change` raises.
    """
    record = open_.volume.registry.read(open_.file_key)
    if record.locks and write_conflict(record, open_.owner, offset, length):
        raise NtStatusError(NtStatus.FILE_LOCK_CONFLICT)
    return change_data(token, open_, change)


def change_data(token: "ImpersonationToken", open_: "NtOpen", change: Callable[[], _T]) -> _T:
    """Run `change`, which alters the file's data whatever is locked of it."""
    volume = open_.volume
    if volume.registry.read(open_.file_key).grants:
        data_changes(open_)
    if open_.has_written:
        result = change()
    else:
        note_first_write(token, open_)
        result = change()
        # Changes that follow are told at the flush or the close, as the last write time is.
        open_.told_at_close |= WRITTEN
        if volume.watchers is not None:
            tell_data_changed(open_, WRITTEN)
    finish_write(token, open_, False)
    return result
