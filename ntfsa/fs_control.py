"""File-system control codes (MS-FSA 2.1.5.10 Server Requests an FsControl Request, MS-FSCC 2.3)."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.borders import translated
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError

_NOT_COMPRESSED: Final = b"\0\0"


def _object_id(context: NtContext, open_: NtOpen, input_: memoryview) -> bytes:
    """FILE_OBJECTID_BUFFER type 1 (MS-FSCC 2.1.3.1): the same for a file as long as it lives, never stored."""
    volume = open_.volume
    identity = blake2b(volume.guid + open_.file_id.to_bytes(8, "little"), digest_size=16).digest()
    return identity + volume.guid + identity + bytes(16)


def _get_compression(context: NtContext, open_: NtOpen, input_: memoryview) -> bytes:
    """MS-FSCC 2.3.17 FSCTL_GET_COMPRESSION Reply."""
    return _NOT_COMPRESSED


def _set_compression(context: NtContext, open_: NtOpen, input_: memoryview) -> bytes:
    """MS-FSCC 2.3.67: only "none" can be set on a file system that does not compress."""
    if not open_.granted_access & (c.FILE_WRITE_DATA | c.FILE_READ_DATA):
        raise NtStatusError(NtStatus.ACCESS_DENIED)
    if len(input_) < 2:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    if bytes(input_[:2]) != _NOT_COMPRESSED:
        raise NtStatusError(NtStatus.NOT_SUPPORTED, "this file system does not compress")
    return b""


def _is_pathname_valid(context: NtContext, open_: NtOpen, input_: memoryview) -> bytes:
    """MS-FSA 2.1.5.10.17: always answered with success."""
    return b""


_CODES: Final[dict[int, Callable[[NtContext, NtOpen, memoryview], bytes]]] = {
    c.FSCTL_CREATE_OR_GET_OBJECT_ID: _object_id,
    c.FSCTL_GET_OBJECT_ID: _object_id,
    c.FSCTL_GET_COMPRESSION: _get_compression,
    c.FSCTL_SET_COMPRESSION: _set_compression,
    c.FSCTL_IS_PATHNAME_VALID: _is_pathname_valid,
}


@translated
def fs_control(context: NtContext, open_: NtOpen, code: int, input_: memoryview, max_output: int) -> Information:
    """Run a control code of file systems. Raises INVALID_DEVICE_REQUEST (not served), BUFFER_TOO_SMALL."""
    control = _CODES.get(code)
    if control is None:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST)
    answer = control(context, open_, input_)
    if len(answer) > max_output:
        raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
    return Information(NtStatus.SUCCESS, answer)
