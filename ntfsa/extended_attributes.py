"""Extended attributes of NT files, kept as attributes "user.NAME" as Samba does (MS-FSA 2.1.5.15.5, 2.1.5.12.10).

Names are case-insensitive: an attribute that exists in another case is the one meant. What modules keep for themselves
(the NT attributes, streams, descriptors) is not shown.
"""

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.fscc.extended_attributes import ExtendedAttribute

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

_PREFIX: Final = "user."
_PRIVATE: Final = ("user.dosattrib", "user.ntacl", "user.dosstream", "user.samba", "user.lamina.")


def _names(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle") -> list[str]:
    try:
        names = volume.chain.listxattr(token, handle)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EACCES, errno.EPERM}:
            return []
        raise
    return [name for name in names if name.startswith(_PREFIX) and not name.lower().startswith(_PRIVATE)]


def get_extended_attributes(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle"
) -> list[ExtendedAttribute]:
    """All the attributes of a file, with their values."""
    found = []
    for name in _names(volume, token, handle):
        try:
            value = volume.chain.getxattr(token, handle, name)
        except OSError as error:
            if error.errno == errno.ENODATA:
                continue
            raise
        found.append(ExtendedAttribute(name[len(_PREFIX) :], value))
    return found


def set_extended_attributes(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", attributes: Iterable[ExtendedAttribute]
) -> None:
    """Set attributes; one with an empty value is removed. Raises OSError."""
    known = {name.lower(): name for name in _names(volume, token, handle)}
    for attribute in attributes:
        asked = _PREFIX + attribute.name
        if asked.lower().startswith(_PRIVATE):
            raise PermissionError(errno.EACCES, "an attribute that the server keeps for itself")
        name = known.get(asked.lower(), asked)
        if attribute.value:
            volume.chain.setxattr(token, handle, name, attribute.value)
            known[name.lower()] = name
        elif known.pop(name.lower(), None) is not None:
            volume.chain.removexattr(token, handle, name)
