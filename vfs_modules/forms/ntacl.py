"""The value of the extended attribute security.NTACL, as Samba lays it out on disk. Pure: bytes in, bytes out.

It is NDR (C706 chapter 14), little endian: a 16-bit version; the same again as the discriminant of a union; a non-zero
pointer; and then, by version, the descriptor alone (1), with a 16-byte hash before it (2), with the type of a hash and
64 bytes for it (3), or with a text, a time and a second hash besides (4). The descriptor stands last, at a multiple of
four, in its self-relative form (MS-DTYP 2.4.6) but for one thing: its offsets count from the beginning of the value.

The hashes are Samba's, over the POSIX side of the file: the second of version 4 over its own form of the POSIX ACL
(`ntacl_hash`), the other over the descriptor it would make of that, which depends on how its winbind maps ids and so
cannot be computed here. Samba takes a value if either fits. So values are written as version 4 with the second hash
and zeros for the first, where the POSIX side is known; else in the two forms that Samba takes without comparing:
version 3 with a hash of zeros, which is what it writes itself where it is told to ignore system ACLs and reads only
there, and version 2, which it trusts always.
"""

import struct
from typing import NamedTuple

from lamina.vfs_modules.forms.ntacl_hash import DESCRIPTION

HASH_NONE = 0
HASH_SHA256 = 1

_VERSIONS = struct.Struct("<HHI")
_POINTER = struct.Struct("<I")
_HASH_TYPE = struct.Struct("<H")
_DESCRIPTOR = struct.Struct("<BBHIIII")
_SELF_RELATIVE = 0x8000
_SHORT_HASH = 16
_HASH = 64
_SHA256 = 32

_POINTERS = (0x00020000, 0x00020004)
_TRUSTED = struct.pack("<HHII16x", 2, 2, *_POINTERS)
_UNCHECKED = struct.pack("<HHIIH64x2x", 3, 3, *_POINTERS, HASH_SHA256)
_TEXT = DESCRIPTION.encode() + b"\0"
_SEALED = struct.pack(f"<HHIIH64x{len(_TEXT)}s", 4, 4, *_POINTERS, HASH_SHA256, _TEXT)
_SEAL = struct.Struct("<Q64s")


class Seal(NamedTuple):
    """By what a later change of the POSIX side is noticed: its hash (`ntacl_hash`), and when it was so (FILETIME)."""

    system_hash: bytes
    time: int


class StoredDescriptor(NamedTuple):
    """A decoded value. `descriptor` is self-relative, as on the wire; HASH_NONE says that there is no hash.

    `system_hash`: the 32 bytes of version 4, empty in the others.
    """

    version: int
    hash_type: int
    descriptor: bytes
    system_hash: bytes = b""


def decode(value: bytes) -> StoredDescriptor:
    """Read a value of versions 1 to 4. ValueError if it is none, or holds no descriptor."""
    try:
        version, level, pointer = _VERSIONS.unpack_from(value)
        if version != level or not pointer or not 1 <= version <= 4:
            raise ValueError("not an NTACL value of a known version")
        hash_type, offset, sealed = (HASH_NONE, _VERSIONS.size, b"") if version == 1 else _read_hashes(value, version)
        return StoredDescriptor(version, hash_type, _moved(value[offset:], -offset), sealed)
    except struct.error as error:
        raise ValueError("an NTACL value that ends too early") from error


def encode(descriptor: bytes, ignoring_system_acls: bool, seal: Seal | None = None) -> bytes:
    """A value for a self-relative descriptor, of the version that fits. ValueError if `descriptor` is none."""
    if ignoring_system_acls:
        head = _UNCHECKED
    elif seal is None:
        head = _TRUSTED
    else:
        head = _SEALED + bytes(-len(_SEALED) % 4) + _SEAL.pack(seal.time, seal.system_hash)
    try:
        return head + _moved(descriptor, len(head))
    except struct.error as error:
        raise ValueError("a descriptor that ends too early") from error


def _read_hashes(value: bytes, version: int) -> tuple[int, int, bytes]:
    """The type of the hash, where the descriptor begins, and the second hash of version 4."""
    if not _POINTER.unpack_from(value, _VERSIONS.size)[0]:
        raise ValueError("an NTACL value without a descriptor")
    offset = _VERSIONS.size + _POINTER.size
    if version == 2:
        return HASH_NONE, offset + _SHORT_HASH, b""
    (hash_type,) = _HASH_TYPE.unpack_from(value, offset)
    offset += _HASH_TYPE.size + _HASH
    if version == 3:
        return hash_type, _aligned(offset), b""
    end = value.find(b"\0", offset)
    if end < 0:
        raise ValueError("a text without an end")
    offset = _aligned(end + 1)
    _, sealed = _SEAL.unpack_from(value, offset)
    return hash_type, _aligned(offset + _SEAL.size), sealed[:_SHA256]


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3


def _moved(descriptor: bytes, by: int) -> bytes:
    """The descriptor with `by` added to its four offsets; 0 stays, for it says that a part is missing."""
    revision, padding, control, *offsets = _DESCRIPTOR.unpack_from(descriptor)
    if revision != 1 or not control & _SELF_RELATIVE:
        raise ValueError("not a self-relative descriptor")
    before = max(-by, 0)
    if any(offset and not _DESCRIPTOR.size <= offset - before < len(descriptor) for offset in offsets):
        raise ValueError("a part of the descriptor lies outside it")
    moved = [offset + by if offset else 0 for offset in offsets]
    return _DESCRIPTOR.pack(revision, padding, control, *moved) + descriptor[_DESCRIPTOR.size :]
