"""What a process calls itself to the cluster, so that the one that comes after a crash can end what is left of it.

Processes that run at the same time, such as the workers of one server, must not do that to each other: each has a place
of its own, by a lock that goes with the process, and who finds the lowest free one comes after whoever had it.
"""

import fcntl
import os
import uuid
from typing import Final

_MOST: Final = 1024
_places: dict[str, tuple[int, int]] = {}


def place_in(folder: str) -> int:
    """The number of this process among those that run now and use the folder; the same one as long as it lives."""
    if folder in _places:
        return _places[folder][0]
    for number in range(_MOST):
        fd = os.open(f"{folder}/client-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
        else:
            _places[folder] = (number, fd)
            return number
    raise OSError(f"more than {_MOST} processes use {folder}")


def client_name(kept: bytes, place: int, what: str) -> str:
    """The name of a client: of whoever keeps these 16 bytes, in this place, for `what`."""
    return str(uuid.uuid5(uuid.UUID(bytes=kept), f"{place} {what}"))
