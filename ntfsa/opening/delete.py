"""The rules of deletion: marking a file so that it goes with its last open (MS-FSA 2.1.5.15.4, 2.1.5.5)."""

from bisect import bisect_left

from lamina.ntfsa.record import OPEN_DELETE_ON_CLOSE, FileRecord, Outcome
from lamina.ntfsa.status import NtStatus


def set_delete_pending(record: FileRecord, delete: bool) -> Outcome[NtStatus]:
    """Mark the file for deletion at its last close, or take that back (FileDispositionInformation).

    Whether that is allowed (read-only, directory not empty, access) has been checked by the caller.
    """
    if record.delete_pending == delete:
        return Outcome(record, NtStatus.SUCCESS)
    return Outcome(record._replace(delete_pending=delete, version=record.version + 1), NtStatus.SUCCESS)


def set_delete_on_close(record: FileRecord, owner: int, delete: bool) -> Outcome[NtStatus]:
    """Set or clear delete-on-close of one open (FILE_DISPOSITION_ON_CLOSE of MS-FSCC 2.4.12).

    FILE_CLOSED where `owner` has no open in the record.
    """
    at = bisect_left(record.opens, (owner,))
    if at == len(record.opens) or record.opens[at].owner != owner:
        return Outcome(record, NtStatus.FILE_CLOSED)
    entry = record.opens[at]
    flags = entry.flags | OPEN_DELETE_ON_CLOSE if delete else entry.flags & ~OPEN_DELETE_ON_CLOSE
    opens = (*record.opens[:at], entry._replace(flags=flags), *record.opens[at + 1 :])
    return Outcome(record._replace(opens=opens, version=record.version + 1), NtStatus.SUCCESS)
