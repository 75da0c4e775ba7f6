"""Extended attributes of NT files, kept as attributes "user.NAME" as Samba does (MS-FSA 2.1.5.15.5, 2.1.5.12.10).

Names are case-insensitive: an attribute that exists in another case is the one meant. What modules keep for themselves
(the NT attributes, streams, descriptors, reparse points) is not shown, nor what NT could not tell. The flag that who
opens the file must know of an attribute (FILE_NEED_EA) has no place beside its value: an attribute of its own lists
the names that have it.
"""

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.fscc.extended_attributes import FILE_NEED_EA, ExtendedAttribute, full_ea_size
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import Access, Capability, OpenHow
from lamina.vfs_modules.private_attributes import KEPT, SHOWN, is_told

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

MAX_SIZE: Final = 0xFFFF
"""Bytes that the packed list of a file's attributes may have on NTFS."""

NEEDED_XATTR: Final = "user.lamina.need_ea"
"""Folded names, separated by NUL, of the attributes that have FILE_NEED_EA."""

_LONGEST_NAME: Final = 0xFF
_LOOK: Final = OpenHow(Access.PATH, follow=False)
_ROOM: Final = 1 << 20
_TOO_LARGE: Final = frozenset({errno.E2BIG, errno.ERANGE})


def _all_names(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle") -> list[str]:
    try:
        return volume.chain.listxattr(token, handle)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EACCES, errno.EPERM}:
            return []
        raise


def get_extended_attributes(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle"
) -> list[ExtendedAttribute]:
    """All the attributes of a file, with their values."""
    names = _all_names(volume, token, handle)
    needed = _needed(volume, token, handle) if NEEDED_XATTR in names else frozenset()
    found = []
    for name in filter(is_told, names):
        try:
            value = volume.chain.getxattr(token, handle, name)
        except OSError as error:
            if error.errno == errno.ENODATA:
                continue
            raise
        raw = encode_name(name[len(SHOWN) :])
        if len(value) <= MAX_SIZE and len(raw) <= _LONGEST_NAME:
            # A client's name may be any bytes, and here it is as the list that it came in was read.
            bare = raw.decode("utf-8", "surrogateescape")
            found.append(ExtendedAttribute(bare, value, FILE_NEED_EA if bare.lower() in needed else 0))
    return found


def has_extended_attributes(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle") -> bool:
    """Whether a file has any that clients are told of."""
    return Capability.XATTRS in volume.capabilities and any(map(is_told, _all_names(volume, token, handle)))


def ea_size_at(volume: "NtVolume", token: "ImpersonationToken", path: str) -> int:
    """What the attributes of the file at a chain path take, packed; 0 where that cannot be told (MS-FSCC EaSize)."""
    try:
        handle = volume.chain.open(token, volume.root, path, _LOOK)
    except OSError:
        return 0
    try:
        return full_ea_size(get_extended_attributes(volume, token, handle))
    except OSError:
        return 0
    finally:
        volume.chain.close(token, handle)


def needs_knowledge(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle") -> bool:
    """Whether a file has an attribute that whoever opens it must know of (FILE_NEED_EA)."""
    return bool(_needed(volume, token, handle))


def _needed(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle") -> frozenset[str]:
    try:
        value = volume.chain.getxattr(token, handle, NEEDED_XATTR)
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP, errno.EACCES, errno.EPERM}:
            return frozenset()
        raise
    return frozenset(value.decode("utf-8", "surrogateescape").split("\0"))


def set_extended_attributes(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", attributes: Iterable[ExtendedAttribute]
) -> None:
    """Set attributes; one with an empty value is removed. Raises OSError, EA_TOO_LARGE."""
    wanted = list(attributes)
    if any((SHOWN + attribute.name).lower().startswith(KEPT) for attribute in wanted):
        raise PermissionError(errno.EACCES, "an attribute that the server keeps for itself")
    current = {attribute.name.lower(): attribute for attribute in get_extended_attributes(volume, token, handle)}
    _check_size(current, wanted)
    before = _flagged(current)
    for attribute in wanted:
        _set(volume, token, handle, current, attribute)
    after = _flagged(current)
    if after != before:
        _store_needed(volume, token, handle, after)


def _check_size(current: dict[str, ExtendedAttribute], wanted: list[ExtendedAttribute]) -> None:
    merged = current | {attribute.name.lower(): attribute for attribute in wanted}
    if full_ea_size(attribute for attribute in merged.values() if attribute.value) > MAX_SIZE:
        raise NtStatusError(NtStatus.EA_TOO_LARGE, "more than the attributes of a file may take")


def _flagged(attributes: dict[str, ExtendedAttribute]) -> list[str]:
    return sorted(name for name, attribute in attributes.items() if attribute.flags & FILE_NEED_EA)


def _set(
    volume: "NtVolume",
    token: "ImpersonationToken",
    handle: "VfsHandle",
    current: dict[str, ExtendedAttribute],
    attribute: ExtendedAttribute,
) -> None:
    known = current.get(attribute.name.lower())
    name = attribute.name if known is None else known.name
    if attribute.value:
        try:
            volume.chain.setxattr(token, handle, SHOWN + name, attribute.value)
        except OSError as error:
            if error.errno in _TOO_LARGE or (error.errno == errno.ENOSPC and _has_room(volume, token, handle)):
                raise NtStatusError(NtStatus.EA_TOO_LARGE, str(error)) from error
            raise
        current[name.lower()] = attribute._replace(name=name)
    elif known is not None:
        volume.chain.removexattr(token, handle, SHOWN + name)
        del current[name.lower()]


def _has_room(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle") -> bool:
    # A file system without room for attributes in a file says the same as one that is full.
    return volume.chain.statfs(token, handle).available > _ROOM


def _store_needed(volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", names: list[str]) -> None:
    if names:
        volume.chain.setxattr(token, handle, NEEDED_XATTR, "\0".join(names).encode("utf-8", "surrogateescape"))
    else:
        volume.chain.removexattr(token, handle, NEEDED_XATTR)
