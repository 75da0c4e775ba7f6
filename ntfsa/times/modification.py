"""Noting that a file is being modified, and what its last write time is meanwhile (MS-FSA 2.1.4.17).

The rules are those of `write_time`; here they are given the clock and the file. A delay of 0 in the volume's settings
shows every write at once.
"""

import contextlib
import time
from typing import TYPE_CHECKING

from lamina.ntfsa.times.archive import mark_archive
from lamina.ntfsa.times.sticky_times import keeps_write_time, restore_after_change
from lamina.ntfsa.times.write_time import begin_writing, end_writing, look, pending, settle
from lamina.vfs_modules.operations import FileStat, Times

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken


def note_first_write(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """`open_` is about to write for the first time."""
    open_.has_written = True
    if open_.unarchived:
        mark_archive(token, open_)
    if open_.stream:
        return
    volume = open_.volume
    delay = volume.settings.write_time_delay_ns
    if delay:
        stored = volume.chain.fstat(token, open_.handle).mtime_ns
        volume.registry.update(open_.file_key, begin_writing, stored, time.time_ns(), delay)


def settle_write_time(token: "ImpersonationToken", open_: "NtOpen") -> None:
    """Show what was written until now: the file was flushed, or its size or a time is set."""
    volume = open_.volume
    record = volume.registry.read(open_.file_key)
    if record.write_time is None:
        return
    now = time.time_ns()
    if pending(record, now) and not keeps_write_time(open_):
        _set_write_time(token, open_, now)
    stored = volume.chain.fstat(token, open_.handle).mtime_ns
    volume.registry.update(open_.file_key, settle, stored)


def note_last_write(token: "ImpersonationToken", open_: "NtOpen", tells_times: bool) -> None:
    """An open that has written closes; `tells_times`: the answer will say when the file was written."""
    volume = open_.volume
    if open_.stream:
        _note_stream_written(token, open_)
        return
    record = volume.registry.read(open_.file_key)
    known = record.write_time
    if known is None:
        return
    # The only writer, and nobody has looked yet: from now on the file system's own time is shown, whatever it is.
    alone = known.settled is None and known.writers == 1
    if alone and not tells_times and len(record.opens) == 1:
        return  # it goes with the record
    stored = 0 if alone else volume.chain.fstat(token, open_.handle).mtime_ns
    late = volume.registry.update(open_.file_key, end_writing, stored).result
    if late and not keeps_write_time(open_):
        _set_write_time(token, open_, time.time_ns())


def _set_write_time(token: "ImpersonationToken", open_: "NtOpen", now: int) -> None:
    # Whoever may write need not be one who may set times; then the file system's own time must do.
    with contextlib.suppress(OSError):
        open_.volume.chain.set_times(token, open_.handle, Times(None, now))
    restore_after_change(token, open_)


def _note_stream_written(token: "ImpersonationToken", open_: "NtOpen") -> None:
    # No file system that keeps streams beside the file notes on the file that they were written.
    if not keeps_write_time(open_):
        _set_write_time(token, open_, time.time_ns())


def shown_stat(volume: "NtVolume", stat: FileStat) -> FileStat:
    """`stat` with the last write time that clients are to see."""
    key = (stat.dev, stat.ino, "")
    registry = volume.registry
    if registry.read(key).write_time is None:
        return stat
    return stat._replace(mtime_ns=registry.update(key, look, stat.mtime_ns, time.time_ns()).result)
