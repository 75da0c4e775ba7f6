"""Paths into snapshots: a file as it was is reached by a component that names the time (MS-SMB2 2.2.13.2.7)."""

from datetime import UTC, datetime

from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.ntfsa.times.filetime import from_filetime


def at_time(path: str, filetime: int) -> str:
    """The NT path of what `path` was at a time, for a module that has snapshots.

    Raises OBJECT_NAME_NOT_FOUND for a time of which there is none.
    """
    try:
        when = datetime.fromtimestamp(from_filetime(filetime) // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "no snapshot is of that time") from error
    token = when.strftime("@GMT-%Y.%m.%d-%H.%M.%S")
    return f"{token}\\{path}" if path else token
