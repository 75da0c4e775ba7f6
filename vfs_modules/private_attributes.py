"""Extended attributes that the server or a module keeps for itself: nobody else sees, reads or changes them."""

import errno
import os
from typing import Final, NoReturn

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
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
