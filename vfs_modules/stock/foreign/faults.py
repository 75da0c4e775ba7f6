"""What foreign stores raise, as the OSError that the contract asks for. Pure.

A store raises OSErrors with and without a number, errors of its library, and anything else.
"""

import errno
import logging
import os
from typing import Final

log = logging.getLogger(__name__)

_BY_KIND: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (FileNotFoundError, errno.ENOENT),
    (FileExistsError, errno.EEXIST),
    (IsADirectoryError, errno.EISDIR),
    (NotADirectoryError, errno.ENOTDIR),
    (PermissionError, errno.EACCES),
    (TimeoutError, errno.ETIMEDOUT),
    (NotImplementedError, errno.ENOTSUP),
    (UnicodeError, errno.EILSEQ),
)

_BY_WORD: Final = (
    ("not empty", errno.ENOTEMPTY),
    ("exist", errno.EEXIST),
    ("no such", errno.ENOENT),
    ("not found", errno.ENOENT),
    ("quota", errno.EDQUOT),
    ("space", errno.ENOSPC),
    ("denied", errno.EACCES),
    ("permission", errno.EACCES),
    ("forbidden", errno.EACCES),
    ("log in", errno.EACCES),
    ("timed out", errno.ETIMEDOUT),
)
"""What a store without numbers says, in any case; "does not exist" is looked for first."""


def as_os_error(error: Exception, path: str) -> OSError:
    """The OSError, with a number, that says what `error` says."""
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return error
    number = next((number for kind, number in _BY_KIND if isinstance(error, kind)), 0) or _number_of_words(str(error))
    if not number:
        log.warning("the store behind %r failed with %s: %s", path, type(error).__name__, error)
    return OSError(number or errno.EIO, os.strerror(number or errno.EIO), path)


def _number_of_words(text: str) -> int:
    lower = text.lower()
    if "not exist" in lower:
        return errno.ENOENT
    return next((number for word, number in _BY_WORD if word in lower), 0)


def is_lost_connection(error: Exception) -> bool:
    """Whether the store may well answer through a new connection: this one was given up."""
    if isinstance(error, ConnectionError | EOFError):
        return True
    # A server that tires of an idle FTP client says 421 and hangs up.
    return type(error).__module__ == "ftplib" and str(error).startswith("421")
