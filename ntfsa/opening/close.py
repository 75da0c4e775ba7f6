"""Closing an open, and the deletion that the last close may bring (MS-FSA 2.1.5.5 Server Requests Closing an Open)."""

import logging
from typing import TYPE_CHECKING

from lamina.ntfsa.errors import nt_error
from lamina.ntfsa.file_state import information_of
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.grants.grant_breaks import closing_deletes_file
from lamina.ntfsa.grants.grant_holders import forget_grants
from lamina.ntfsa.notify.change_notify import unwatch
from lamina.ntfsa.opening.deletion import deletes_now, remove_name, tell_watchers
from lamina.ntfsa.opening.sharing import CloseResult, close_file
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.streams.stream_deletion import end_stream
from lamina.ntfsa.streams.stream_opens import detach
from lamina.ntfsa.times.modification import note_last_write

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)


def close(context: "NtContext", open_: "NtOpen", post_query: bool = False) -> NetworkOpenInformation | None:
    """Close an open; with `post_query` the file's state after it. Closing twice does nothing.

    The last close of a file that is to be deleted deletes it. Raises NtStatusError, the open being closed all the same.
    """
    if open_.closed:
        return None
    open_.closed = True
    try:
        return _close(context, open_, post_query)
    except OSError as error:
        raise nt_error(error) from error


def _close(context: "NtContext", open_: "NtOpen", post_query: bool) -> NetworkOpenInformation | None:
    volume, token = open_.volume, context.token
    registry, key = volume.registry, open_.file_key
    removed = False
    try:
        if open_.enumeration is not None:
            open_.enumeration.close()
        if open_.waiting_locks is not None or open_.watcher is not None:
            _end_waiting(open_)
        if open_.has_written:
            note_last_write(token, open_, post_query)
        if open_.stream:
            end_stream(token, open_)
        elif open_.delete_on_close or registry.read(key).delete_pending:
            removed = _delete(token, open_)
        elif open_.told_at_close and volume.watchers is not None:
            volume.watchers.modified(open_.vfs_path, open_.told_at_close, open_.parent_key)
        return information_of(token, open_) if post_query else None
    finally:
        result = registry.update(key, close_file, open_.owner).result
        if volume.peers is not None and not removed:
            _delete_after_all(token, open_, result)
        if open_.oplock is not None or open_.lease is not None:
            forget_grants(open_)
        volume.remove_open(open_)
        if open_.stream:
            detach(token, open_)
        volume.chain.close(token, open_.handle)


def _delete_after_all(token: "ImpersonationToken", open_: "NtOpen", result: CloseResult) -> None:
    # Another worker closed the file in the same moment, and each found the other's open still there.
    if result.delete and not open_.stream:
        remove_name(token, open_)


def _delete(token: "ImpersonationToken", open_: "NtOpen") -> bool:
    """Whether the name of the file has gone."""
    tell_watchers(open_)
    closing_deletes_file(open_)
    if not deletes_now(open_):
        return False
    remove_name(token, open_)
    return True


def _end_waiting(open_: "NtOpen") -> None:
    if open_.waiting_locks is not None:
        _refuse_waiting_locks(open_)
    if open_.watcher is not None:
        unwatch(open_)


def _refuse_waiting_locks(open_: "NtOpen") -> None:
    # A lock that waits when its file is closed can never be granted (smb2.lock.cancel-tdis, cancel-logoff).
    waiting, open_.waiting_locks = open_.waiting_locks or {}, None
    for future in waiting.values():
        if not future.done():
            future.set_exception(NtStatusError(NtStatus.RANGE_NOT_LOCKED, "the file was closed"))
    if open_.waiting_locks is None:
        open_.volume.registry.unsubscribe(open_.owner)
