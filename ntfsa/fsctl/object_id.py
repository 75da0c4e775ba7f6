"""Object ids: 16 bytes by which a link tracker finds a file again (MS-FSCC 2.3.1, 2.1.3; MS-FSA 2.1.5.10).

A file without a stored id has one that is derived of the volume and the file's number: the same for as long as it
lives. One that a client sets is kept in an extended attribute. The volume does not look files up by their ids.
"""

import errno
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.fsctl.control import NOTHING, Control
from lamina.ntfsa.result import Information
from lamina.ntfsa.security.access_check import SE_RESTORE
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Capability

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

XATTR: Final = "user.lamina.object_id"
"""FILE_OBJECTID_BUFFER type 1 as it stands: 64 bytes."""

SIZE: Final = 64
_BUFFER: Final = Struct("<16s48s")
_MAY_CHANGE: Final = c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES


def object_id_of(token: "ImpersonationToken", open_: "NtOpen") -> bytes:
    """FILE_OBJECTID_BUFFER of an open file (MS-FSCC 2.1.3.1), stored or derived."""
    return _stored(token, open_) or _derived(open_)


def _stored(token: "ImpersonationToken", open_: "NtOpen") -> bytes | None:
    if Capability.XATTRS not in open_.volume.capabilities:
        return None
    try:
        value = open_.volume.chain.getxattr(token, open_.handle, XATTR)
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.EACCES, errno.ENOTSUP, errno.EPERM}:
            return None
        raise
    return value if len(value) == SIZE else None


def _derived(open_: "NtOpen") -> bytes:
    volume = open_.volume
    identity = blake2b(volume.guid + open_.file_id.to_bytes(8, "little"), digest_size=16).digest()
    return identity + volume.guid + identity + bytes(16)


def create_or_get_object_id(control: Control) -> Information:
    """FSCTL_CREATE_OR_GET_OBJECT_ID: there always is one."""
    return control.answer(object_id_of(control.context.token, control.open))


def get_object_id(control: Control) -> Information:
    """FSCTL_GET_OBJECT_ID."""
    return control.answer(object_id_of(control.context.token, control.open))


def set_object_id(control: Control) -> Information:
    """FSCTL_SET_OBJECT_ID (MS-FSA 2.1.5.10.33): whoever may restore files may give them their old ids."""
    _require_change(control)
    if SE_RESTORE not in control.context.token.privileges:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "only who may restore files sets object ids")
    if len(control.input) != SIZE:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    if _stored(control.context.token, control.open) is not None:
        raise NtStatusError(NtStatus.OBJECT_NAME_COLLISION, "the file has an object id")
    _store(control, bytes(control.input))
    return NOTHING


def set_object_id_extended(control: Control) -> Information:
    """FSCTL_SET_OBJECT_ID_EXTENDED (MS-FSA 2.1.5.10.34): the 48 bytes behind the id."""
    _require_change(control)
    if len(control.input) != SIZE - 16:
        raise NtStatusError(NtStatus.INVALID_PARAMETER)
    object_id, _ = _BUFFER.unpack(object_id_of(control.context.token, control.open))
    _store(control, object_id + bytes(control.input))
    return NOTHING


def delete_object_id(control: Control) -> Information:
    """FSCTL_DELETE_OBJECT_ID (MS-FSA 2.1.5.10.3): SUCCESS also where none is stored."""
    _require_change(control)
    open_ = control.open
    if _stored(control.context.token, open_) is not None:
        open_.volume.chain.removexattr(control.context.token, open_.handle, XATTR)
    return NOTHING


def _require_change(control: Control) -> None:
    control.require_any(_MAY_CHANGE)
    if Capability.XATTRS not in control.open.volume.capabilities:
        raise NtStatusError(NtStatus.INVALID_DEVICE_REQUEST, "there is no place for object ids here")


def _store(control: Control, value: bytes) -> None:
    control.open.volume.chain.setxattr(control.context.token, control.open.handle, XATTR, value)
