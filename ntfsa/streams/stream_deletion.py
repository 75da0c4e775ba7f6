"""The end of an open of a named stream: the deletion that it may bring, of the stream or of its file.

MS-FSA 2.1.5.5 Server Requests Closing an Open: a stream that is to be deleted goes with its last open, a file with the
last one of all its streams. Overwriting a file removes its named streams (2.1.5.1.2 Open of an Existing File).
"""

import errno
import logging
from typing import TYPE_CHECKING

from lamina.ntfsa.fscc import notify_information as n
from lamina.ntfsa.grants.grant_breaks import closing_deletes_file
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.opening.delete import set_delete_pending
from lamina.ntfsa.opening.deletion import remove_name
from lamina.ntfsa.opening.sharing import closing_deletes
from lamina.ntfsa.record import FileRecord, Outcome
from lamina.ntfsa.status import NtStatus
from lamina.ntfsa.streams.stream_changes import tell_data_changed, tell_stream_name
from lamina.ntfsa.streams.stream_opens import key_of_file, require_streams_share_delete

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

log = logging.getLogger(__name__)


def _mark(record: FileRecord) -> Outcome[NtStatus]:
    return set_delete_pending(record, True)


def end_stream(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """What closing `open_` does to its stream and to the file."""
    registry, key = open_.volume.registry, open_.file_key
    if open_.volume.emptied:
        _vanish_if_empty(token, open_)
    record = registry.read(key)
    if open_.delete_on_close or record.delete_pending:
        closing_deletes_file(open_)
        if closing_deletes(record, open_.owner) or (open_.posix_delete and record.delete_pending):
            registry.update(key, _mark)
            _remove(token, open_)
    elif open_.told_at_close:
        tell_data_changed(open_, open_.told_at_close)
    base = key_of_file(key)
    record = registry.read(base)
    if record.delete_pending and closing_deletes(record, open_.owner):
        remove_name(token, open_)


def _vanish_if_empty(token: "ImpersonationToken", open_: "NtOpen") -> None:
    emptied, registry = open_.volume.emptied, open_.volume.registry
    if open_.owner not in emptied:
        return
    emptied.discard(open_.owner)
    # Whoever else has it open may be about to write to it.
    if len(registry.read(open_.file_key).opens) == 1 and not open_.chain.fstat(token, open_.data).size:
        registry.update(open_.file_key, _mark)


def _remove(token: "ImpersonationToken", open_: "NtOpen") -> None:
    try:
        open_.volume.whole_chain.remove_stream(token, open_.handle, open_.stream)
    except OSError as error:
        if error.errno != errno.ENOENT:
            log.info("share %s: %r cannot be deleted: %s", open_.volume.name, open_.path, error.strerror)
        return
    tell_stream_name(open_, open_.stream, n.FILE_ACTION_REMOVED_STREAM)


def remove_streams(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Remove the named streams of a file that is overwritten through `open_`; those that are open go when they close.

    Raises SHARING_VIOLATION where one is open that does not share deleting.
    """
    volume, key = open_.volume, open_.file_key
    chain, registry = volume.whole_chain, volume.registry
    streams = chain.list_streams(token, open_.handle)
    if streams:
        require_streams_share_delete(registry, key)
    for stream in streams:
        of_stream = (key[0], key[1], fold(stream.name))
        if registry.read(of_stream).opens:
            registry.update(of_stream, _mark)
            continue
        chain.remove_stream(token, open_.handle, stream.name)
        tell_stream_name(open_, stream.name, n.FILE_ACTION_REMOVED_STREAM)
