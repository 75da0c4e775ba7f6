"""The rules of a last write time that writes change late: what is shown while somebody writes.

The first write through an open changes the time that is shown after a delay, and those that follow not at all until the
open is closed; what sets the size or a time, or flushes, acts at once. So do Windows Server up to 2016 and smbd, as
MS-FSA 2.1.4.17 (Algorithm for Noting That a File Has Been Modified) lets an object store do: its footnote has it put
the time off. Times are nanoseconds since 1970, `now` is given. The file system's own time is never held back.
"""

from typing import Final

from lamina.ntfsa.record import FileRecord, Outcome, WriteTime

_UNKNOWN: Final = None
# Makes a named tuple of a tuple at a third of the price: here every file that is written passes twice.
_make = tuple.__new__


def begin_writing(record: FileRecord, stored: int, now: int, delay: int) -> Outcome[None]:
    """An open is about to write for the first time; `stored` is the file's time before it."""
    known = record.write_time
    if known is None:
        changed = _make(WriteTime, (stored, now + delay, _UNKNOWN, 1))
    elif known.settled is None and now < known.due:
        changed = known._replace(writers=known.writers + 1)
    else:
        before = stored if known.settled is None else known.settled
        changed = WriteTime(before, now + delay, _UNKNOWN, known.writers + 1)
    return _make(Outcome, (_with(record, changed), None, ()))


def look(record: FileRecord, stored: int, now: int) -> Outcome[int]:
    """The time to show for a file whose own is `stored`. Who looks first after the delay settles what all see."""
    known = record.write_time
    if known is None:
        return Outcome(record, stored)
    if known.settled is not None:
        return Outcome(record, known.settled)
    if now < known.due:
        return Outcome(record, known.before)
    return Outcome(_with(record, known._replace(settled=stored)), stored)


def pending(record: FileRecord, now: int) -> bool:
    """Whether a write is not shown yet, because its delay has not passed."""
    known = record.write_time
    return known is not None and known.settled is None and now < known.due


def settle(record: FileRecord, stored: int) -> Outcome[None]:
    """Show `stored` from now on: it was set, or what was written was flushed."""
    known = record.write_time
    if known is None or known.settled == stored:
        return Outcome(record, None)
    return Outcome(_with(record, known._replace(settled=stored)), None)


def end_writing(record: FileRecord, stored: int) -> Outcome[bool]:
    """A writing open closes: whether the file's time must be set, as more was written than was shown."""
    known = record.write_time
    if known is None:
        return Outcome(record, False)
    late = known.settled is not None and known.settled != stored
    changed = known._replace(settled=stored, writers=known.writers - 1) if known.writers > 1 else None
    return _make(Outcome, (_with(record, changed), late, ()))


def _with(record: FileRecord, write_time: WriteTime | None) -> FileRecord:
    opens, counts, locks, waiters, delete_pending, grants, version, _ = record
    return _make(FileRecord, (opens, counts, locks, waiters, delete_pending, grants, version + 1, write_time))
