"""What a file is given when it is made: extended attributes, security, reserved space."""

import contextlib
import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.extended_attributes import FILE_NEED_EA, parse_full_ea
from lamina.ntfsa.metadata.extended_attributes import set_extended_attributes
from lamina.ntfsa.security.file_security import apply_new_descriptor
from lamina.ntfsa.security.security_descriptor import parse_security_descriptor
from lamina.ntfsa.security.unix_aces import wanted_mode
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.opening.create_check import Request
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.operations import FileStat


UNSUPPORTED: Final = frozenset({errno.ENOTSUP, errno.ENOSYS})
"""Errors of where something cannot be kept."""


@contextlib.contextmanager
def ignore_unsupported() -> Iterator[None]:
    """Go on where the file system cannot keep something that a client does not depend on."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def apply_extended_attributes(request: "Request", handle: "VfsHandle") -> None:
    """Set the extended attributes of the request (create context ExtA)."""
    data = request.parameters.extended_attributes
    if not data:
        return
    attributes = parse_full_ea(data)
    if request.options & c.FILE_NO_EA_KNOWLEDGE and any(one.flags & FILE_NEED_EA for one in attributes):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "attributes that their maker says not to know")
    set_extended_attributes(request.volume, request.token, handle, attributes)


def apply_security(request: "Request", handle: "VfsHandle", stat: "FileStat", above: bytes | None) -> None:
    """Give a new file its descriptor: the request's (create context SecD), with what it inherits from `above`."""
    given = request.parameters.security_descriptor
    if (
        given is not None
        and request.posix_mode is not None
        and wanted_mode(parse_security_descriptor(given)) is not None
    ):
        given = None  # the mode once more, and a list for servers that know no modes
    if given is not None or above is not None:
        apply_new_descriptor(request.volume, request.token, handle, stat, given, above)


def reserve(request: "Request", open_: "NtOpen") -> None:
    """Reserve the allocation size of the request (create context AlSi); DISK_FULL where it cannot be."""
    size = request.parameters.allocation_size
    if size and not open_.is_directory:
        open_.reserved = size
        with ignore_unsupported():
            request.volume.chain.fallocate(request.token, open_.handle, 0, size)
