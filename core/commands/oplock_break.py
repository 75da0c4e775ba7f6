"""OPLOCK_BREAK acknowledgments (MS-SMB2 3.3.5.22)."""

from lamina.core.request import Reply, Request
from lamina.ntfsa.status import NtStatus, NtStatusError


def handle(request: Request) -> bytes | Reply:
    """Refuse: no caching right is granted yet, so that none can be breaking (3.3.5.22.1)."""
    raise NtStatusError(NtStatus.INVALID_PARAMETER, "no oplock or lease is breaking")
