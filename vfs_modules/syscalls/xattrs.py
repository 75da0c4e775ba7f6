"""Extended attributes, with whichever library this Python has.

Linux's Python has the calls itself; where it has none (and where a test asks for it) pyxattr serves, the optional
`xattr` extra. The package called `xattr` on PyPI installs a module of the same name with another interface: it is
recognised and not used.
"""

import ctypes
import errno
import os
import types
from typing import Protocol

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.syscalls.attributes import proc_path
from lamina.vfs_modules.token import ImpersonationToken

Target = int | bytes
"""A descriptor, or a path through /proc/self/fd."""


class XattrCalls(Protocol):
    """The four calls; each raises OSError. `follow` False looks at a symbolic link itself."""

    def get(self, target: Target, name: bytes, follow: bool) -> bytes:
        """The value."""
        ...

    def set(self, target: Target, name: bytes, value: bytes) -> None:
        """Create or replace."""
        ...

    def remove(self, target: Target, name: bytes) -> None:
        """Remove."""
        ...

    def list(self, target: Target, follow: bool) -> list[bytes]:
        """All names."""
        ...


class StandardXattrs:
    """The standard library's calls (Linux)."""

    get = staticmethod(lambda target, name, follow: os.getxattr(target, name, follow_symlinks=follow))
    set = staticmethod(os.setxattr)
    remove = staticmethod(os.removexattr)

    @staticmethod
    def list(target: Target, follow: bool) -> list[bytes]:
        """All names."""
        return [os.fsencode(name) for name in os.listxattr(target, follow_symlinks=follow)]


class PyxattrXattrs:
    """The calls of pyxattr."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def get(self, target: Target, name: bytes, follow: bool) -> bytes:
        """The value."""
        return bytes(self._module.get(target, name, nofollow=not follow))

    def set(self, target: Target, name: bytes, value: bytes) -> None:
        """Create or replace."""
        self._module.set(target, name, value)

    def remove(self, target: Target, name: bytes) -> None:
        """Remove."""
        self._module.remove(target, name)

    def list(self, target: Target, follow: bool) -> list[bytes]:
        """All names."""
        return list(self._module.list(target, nofollow=not follow))


class NoXattrs:
    """Where there is no library: every call says ENOTSUP."""

    @staticmethod
    def _refuse(*_: object) -> bytes:
        raise OSError(errno.ENOTSUP, "this Python has no xattr calls; install lamina[xattr]")

    get = set = remove = list = _refuse


def find_pyxattr() -> types.ModuleType | None:
    """The pyxattr module, or None where it is missing or where another distribution has taken its name."""
    try:
        import xattr
    except ImportError:
        return None
    # Both have these functions, but only pyxattr takes `nofollow` and has get_all.
    return xattr if hasattr(xattr, "get_all") else None


def choose() -> XattrCalls:
    """The best library that is there: the standard one is 30 % faster than pyxattr."""
    if hasattr(os, "getxattr"):
        return StandardXattrs()
    module = find_pyxattr()
    return PyxattrXattrs(module) if module is not None else NoXattrs()  # type: ignore[return-value]


calls: XattrCalls = choose()
"""The library in use; tests replace it."""


def getxattr(token: ImpersonationToken, fd: int, name: str, by_path: bool) -> bytes:
    """The value of an extended attribute of a descriptor's file."""
    assume(token)
    return calls.get(proc_path(fd) if by_path else fd, encode_name(name), True)


def find_xattr(token: ImpersonationToken, fd: int, name: bytes, by_path: bool) -> bytes:
    """As `getxattr`, but b"" where there is none, as with most files: an exception costs more than the system call."""
    assume(token)
    if type(calls) is not StandardXattrs:
        return _find_slowly(fd, name, by_path)
    buffer, address, room = libc.buffers.value
    if by_path:
        length: int = libc.getxattr(proc_path(fd), name, address, room)
    else:
        length = libc.fgetxattr(fd, name, address, room)
    if length >= 0:
        return bytes(buffer[:length])
    number = ctypes.get_errno()
    if number == errno.ENODATA:
        return b""
    return _find_slowly(fd, name, by_path) if number == errno.ERANGE else libc.fail()


def _find_slowly(fd: int, name: bytes, by_path: bool) -> bytes:
    try:
        return calls.get(proc_path(fd) if by_path else fd, name, True)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return b""


def setxattr(token: ImpersonationToken, fd: int, name: str, value: bytes, by_path: bool) -> None:
    """Create or replace an extended attribute."""
    assume(token)
    calls.set(proc_path(fd) if by_path else fd, encode_name(name), value)


def removexattr(token: ImpersonationToken, fd: int, name: str, by_path: bool) -> None:
    """Remove an extended attribute; ENODATA where there is none."""
    assume(token)
    calls.remove(proc_path(fd) if by_path else fd, encode_name(name))


def listxattr(token: ImpersonationToken, fd: int, by_path: bool) -> list[str]:
    """The names of all the extended attributes that the token may see."""
    assume(token)
    return [decode_name(name) for name in calls.list(proc_path(fd) if by_path else fd, True)]
