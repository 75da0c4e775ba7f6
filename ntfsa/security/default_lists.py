"""The list of a new file that is given none and inherits none (MS-DTYP 2.5.3.4.1, TokenDefaultDACL).

As on Windows it is the creator's and the system's; a module may want it made of the file's mode, or open to everyone,
as Samba's `default acl style` does.
"""

from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.security_descriptor import ACCESS_ALLOWED_ACE_TYPE, Ace, Acl
from lamina.ntfsa.security.sid import EVERYONE, LOCAL_SYSTEM
from lamina.vfs_modules.operations.capability import Capability

_BITS: Final = ((4, c.FILE_GENERIC_READ), (2, c.FILE_GENERIC_WRITE), (1, c.FILE_GENERIC_EXECUTE))


def default_list(style: Capability, owner: str, group: str, mode: int) -> Acl:
    """The list; `style` is what the chain can do, `mode` the permission bits of the new file."""
    if Capability.DEFAULT_LIST_FOR_EVERYONE in style:
        return _allowing((EVERYONE, c.FILE_ALL_ACCESS))
    if Capability.DEFAULT_LIST_OF_MODE not in style:
        return _allowing((owner, c.FILE_ALL_ACCESS), (LOCAL_SYSTEM, c.FILE_ALL_ACCESS))
    return _allowing(
        (owner, c.FILE_ALL_ACCESS if mode & 0o200 else _rights(mode >> 6)),
        (group, _rights(mode >> 3)),
        (EVERYONE, _rights(mode)),
        (LOCAL_SYSTEM, c.FILE_ALL_ACCESS),
    )


def _rights(bits: int) -> int:
    rights = 0
    for bit, given in _BITS:
        rights |= given if bits & bit else 0
    return rights


def _allowing(*entries: tuple[str, int]) -> Acl:
    return Acl(tuple(Ace(ACCESS_ALLOWED_ACE_TYPE, 0, rights, sid) for sid, rights in entries if rights))
