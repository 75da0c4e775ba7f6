"""What is asked of many entries at once, asked of each: where nobody does it at once, or somebody must see each."""

import errno
from collections.abc import Sequence
from typing import Any, Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.values import EntryXattrs, OpenHow
from lamina.vfs_modules.token import ImpersonationToken

_LOOK: Final = OpenHow(follow=False)

_OF_ONE: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENODATA, errno.ENOTSUP, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}
    | {errno.EINVAL, errno.ENAMETOOLONG, errno.ERANGE, errno.E2BIG, errno.ENXIO}
)
"""Errors that are one entry's own affair. Where the storage is away nobody is to wait for that once for each."""


def xattrs_one_by_one(
    below: Any, token: ImpersonationToken, directory: VfsHandle, entries: Sequence[str], names: Sequence[str]
) -> list[EntryXattrs]:
    """What `getxattrs_in` is to answer, by other operations of `below`. Raises what concerns more than one entry."""
    return [_of_entry(below, token, directory, entry, names) for entry in entries]


def _of_entry(
    below: Any, token: ImpersonationToken, directory: VfsHandle, entry: str, names: Sequence[str]
) -> EntryXattrs:
    try:
        handle = below.open(token, directory, entry, _LOOK)
    except OSError as error:
        return EntryXattrs((), (_own(error),) * len(names))
    try:
        return _of_handle(below, token, handle, names)
    finally:
        below.close(token, handle)


def _of_handle(below: Any, token: ImpersonationToken, handle: VfsHandle, names: Sequence[str]) -> EntryXattrs:
    try:
        told: tuple[str, ...] = tuple(below.listxattr(token, handle))
    except OSError as error:
        _own(error)
        return EntryXattrs((), tuple(_value(below, token, handle, name) for name in names))
    return EntryXattrs(
        told, tuple(_value(below, token, handle, name) if name in told else errno.ENODATA for name in names)
    )


def _value(below: Any, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes | int:
    try:
        value: bytes = below.getxattr(token, handle, name)
    except OSError as error:
        return _own(error)
    return value


def _own(error: OSError) -> int:
    if error.errno not in _OF_ONE:
        raise error
    return error.errno
