"""What the numbers mean that libcephfs returns. Pure.

It returns a negative errno of Linux, except where it never got as far as the cluster.
"""

import errno
import os
from typing import Final, NoReturn

_BEFORE_THE_CLUSTER: Final = {
    1000: (errno.ENOTCONN, "no map of the monitors: neither the configuration nor its monitors tell of a cluster"),
    1001: (errno.ENOTCONN, "no map of the monitors"),
    1002: (errno.ENOMEM, "no client could be made"),
    1003: (errno.ENOTCONN, "the messenger did not start"),
}

LOST: Final = frozenset({errno.ESHUTDOWN, errno.ENOTCONN})
"""The cluster has put this client out (blocklisted it), or the mount was given up: nothing goes through it any more."""


def fail(number: int, path: str | bytes = "") -> NoReturn:
    """Raise the OSError of an errno."""
    raise OSError(number, os.strerror(number), path)


def error_of(result: int, what: str = "") -> OSError:
    """The error that a negative result stands for; `what` was asked for."""
    number, text = _BEFORE_THE_CLUSTER.get(-result, (-result, ""))
    text = text or os.strerror(number)
    return OSError(number, f"{what}: {text}" if what else text)


def checked(result: int) -> int:
    """The result, which is an error where it is negative."""
    if result < 0:
        number = _BEFORE_THE_CLUSTER.get(-result, (-result, ""))[0]
        raise OSError(number, os.strerror(number))
    return result


class StaleHandle(OSError):
    """A file handle of the library that was good: the cluster has put the client out, and let it in again."""


def checked_handle(result: int) -> int:
    """The result of a call on a file handle of the library that was not closed. Raises StaleHandle for EBADF."""
    if result == -errno.EBADF:
        raise StaleHandle(errno.EBADF, os.strerror(errno.EBADF))
    return checked(result)
