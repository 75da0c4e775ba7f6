"""POSIX access control lists in the form that Linux keeps them in (linux/posix_acl_xattr.h). Pure: bytes in, bytes out.

The value of system.posix_acl_access and system.posix_acl_default: a version, and entries of eight bytes in the order of
acl(5). Read and written through the chain's extended attributes, so that no library and no path is needed: a handle
without a descriptor of its own (O_PATH) has its list read the same way, as whoever the token is.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

ACCESS: Final = "system.posix_acl_access"
DEFAULT: Final = "system.posix_acl_default"

USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20

UNDEFINED: Final = 0xFFFFFFFF
"""The qualifier of an entry that names nobody."""

_VERSION: Final = Struct("<I")
_ENTRY: Final = Struct("<HHI")
_CURRENT: Final = 2
_TAGS: Final = frozenset({USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER})


class PosixAclEntry(NamedTuple):
    """One entry: whose, read 4 write 2 execute 1, and the uid or gid of USER and GROUP."""

    tag: int
    permissions: int
    qualifier: int = UNDEFINED


PosixAcl = tuple[PosixAclEntry, ...]


def parse(value: bytes) -> PosixAcl:
    """The list in an attribute's value. ValueError if it is none."""
    if len(value) < _VERSION.size or (len(value) - _VERSION.size) % _ENTRY.size:
        raise ValueError("a POSIX ACL of an impossible length")
    if _VERSION.unpack_from(value)[0] != _CURRENT:
        raise ValueError("a POSIX ACL of another version")
    entries = tuple(map(PosixAclEntry._make, _ENTRY.iter_unpack(value[_VERSION.size :])))
    if any(entry.tag not in _TAGS or entry.permissions & ~7 for entry in entries):
        raise ValueError("a POSIX ACL with an entry that means nothing")
    return entries


def pack(entries: Iterable[PosixAclEntry]) -> bytes:
    """The value of a list; its entries are put into the order that the kernel wants."""
    ordered = sorted(entries, key=lambda entry: (entry.tag, entry.qualifier))
    return _VERSION.pack(_CURRENT) + b"".join(_ENTRY.pack(*entry) for entry in ordered)


def of_mode(mode: int) -> PosixAcl:
    """What a file without a list has: its permission bits say the same."""
    return (
        PosixAclEntry(USER_OBJ, mode >> 6 & 7),
        PosixAclEntry(GROUP_OBJ, mode >> 3 & 7),
        PosixAclEntry(OTHER, mode & 7),
    )
