"""The hash by which Samba's acl_xattr notices a change of mode, owner or POSIX ACL made behind its back. Pure.

Version 4 of security.NTACL holds the SHA-256 of the file's POSIX side as Samba's NDR (C706 chapter 14) writes it: two
unique pointers, to the access list and to the default list; owner and group in 64 bits, the mode with the type of the
file; then the lists, each the number of entries, twice, a zero, and per entry the tag, twice (the discriminant of a
union), a 64-bit id where it has one, and the permissions. A directory without a default list has an empty one, and a
file has none. Determined from values that smbd 4.17 has written, and checked with it in the tests.
"""

from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

from lamina.vfs_modules.forms.posix_acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, PosixAcl

DESCRIPTION: Final = "posix_acl"
"""What Samba calls this kind of system ACL, in the value."""

_TAGS: Final = {USER: 1, USER_OBJ: 2, GROUP: 3, GROUP_OBJ: 4, OTHER: 5, MASK: 6}
_HEAD: Final = Struct("<IIQQI")
_COUNT: Final = Struct("<I")
_LIST: Final = Struct("<II")
_NAMED: Final = Struct("<HH4xQI4x")
_PLAIN: Final = Struct("<HHI")
_FIRST_POINTER: Final = 0x00020000


class PosixSide(NamedTuple):
    """What POSIX knows of a file's security. `mode` with the type of the file; `default` None for what has none."""

    mode: int
    uid: int
    gid: int
    access: PosixAcl
    default: PosixAcl | None = None


def system_acl_hash(side: PosixSide) -> bytes:
    """The 32 bytes that Samba compares."""
    return sha256(_blob(side)).digest()


def _blob(side: PosixSide) -> bytes:
    with_default = _FIRST_POINTER + 4 if side.default is not None else 0
    blob = bytearray(_HEAD.pack(_FIRST_POINTER, with_default, side.uid, side.gid, side.mode))
    for entries in (side.access, side.default):
        if entries is not None:
            _append(blob, entries)
    return bytes(blob)


def _append(blob: bytearray, entries: PosixAcl) -> None:
    blob += _COUNT.pack(len(entries))
    blob += bytes(-len(blob) % 8)
    blob += _LIST.pack(len(entries), 0)
    for tag, permissions, qualifier in entries:
        kind = _TAGS[tag]
        if tag in {USER, GROUP}:
            blob += _NAMED.pack(kind, kind, qualifier, permissions)
        else:
            blob += _PLAIN.pack(kind, kind, permissions)
