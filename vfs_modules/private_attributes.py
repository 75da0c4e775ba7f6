"""Extended attributes that the server or a module keeps for itself: nobody else sees, reads or changes them."""

import errno
import os
from collections.abc import Sequence
from typing import Final, NoReturn

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule, implements
from lamina.vfs_modules.operations import EntryXattrs
from lamina.vfs_modules.operations.one_by_one import xattrs_one_by_one
from lamina.vfs_modules.token import ImpersonationToken

SHOWN: Final = "user."
"""What the names of attributes begin with that clients are told of."""

KEPT: Final = ("user.dosattrib", "user.ntacl", "user.dosstream", "user.samba", "user.smbreparse", "user.lamina.")
"""What the lower-case names of those begin with that they are not told of, nevertheless."""


def is_told(name: str) -> bool:
    """Whether clients are told of an extended attribute."""
    return name.startswith(SHOWN) and not name.lower().startswith(KEPT)


def _fail(number: int, name: str) -> NoReturn:
    raise OSError(number, os.strerror(number), name)


class PrivateAttributes(VfsModule):
    """The base of modules that have such attributes; the modules say which by `_is_private`."""

    def _is_private(self, name: str) -> bool:
        raise NotImplementedError

    def getxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> bytes:
        """The others' attributes; ENODATA for this module's."""
        if self._is_private(name):
            _fail(errno.ENODATA, name)
        return self.next.getxattr(token, handle, name)

    def setxattr(self, token: ImpersonationToken, handle: VfsHandle, name: str, value: bytes) -> None:
        """Set the others' attributes; EACCES for this module's."""
        if self._is_private(name):
            _fail(errno.EACCES, name)
        self.next.setxattr(token, handle, name, value)

    def removexattr(self, token: ImpersonationToken, handle: VfsHandle, name: str) -> None:
        """Remove the others' attributes; EACCES for this module's."""
        if self._is_private(name):
            _fail(errno.EACCES, name)
        self.next.removexattr(token, handle, name)

    def listxattr(self, token: ImpersonationToken, handle: VfsHandle) -> list[str]:
        """The others' attributes."""
        return [name for name in self.next.listxattr(token, handle) if not self._is_private(name)]

    def getxattrs_in(
        self, token: ImpersonationToken, directory: VfsHandle, entries: Sequence[str], names: Sequence[str]
    ) -> list[EntryXattrs]:
        """The others' attributes of many entries; ENODATA for this module's."""
        if implements(type(self), "open"):
            return xattrs_one_by_one(self, token, directory, entries, names)
        found = self.next.getxattrs_in(token, directory, entries, names)
        hidden = frozenset(number for number, name in enumerate(names) if self._is_private(name))
        return [self._without_private(entry, hidden) for entry in found]

    def _without_private(self, entry: EntryXattrs, hidden: frozenset[int]) -> EntryXattrs:
        if not hidden and not any(map(self._is_private, entry.names)):
            return entry
        return EntryXattrs(
            tuple(name for name in entry.names if not self._is_private(name)),
            tuple(
                errno.ENODATA if number in hidden and value != errno.ENOENT else value
                for number, value in enumerate(entry.values)
            ),
        )
