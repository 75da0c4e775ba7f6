"""The C library's calls that Python does not wrap, through ctypes, each raising OSError with its errno.

The functions release the GIL while they run: a call on a slow file system must not stop the other threads. For the same
reason the structures they fill belong to the thread.
"""

import ctypes
import errno
import os
import struct
import threading
from typing import NoReturn

_library = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08

_OPENAT2 = ctypes.c_long(437)  # the same number on every architecture
GETXATTRAT = ctypes.c_long(464)
LISTXATTRAT = ctypes.c_long(465)
_OPEN_HOW = struct.Struct("=QQQ")
_OPEN_HOW_SIZE = ctypes.c_size_t(_OPEN_HOW.size)
_XATTR_ARGUMENTS = struct.Struct("=QII")
XATTR_ARGUMENTS_SIZE = ctypes.c_size_t(_XATTR_ARGUMENTS.size)
_INT, _UINT, _LONG, _BYTES, _POINTER = ctypes.c_int, ctypes.c_uint, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p


def _function(name: str, *argtypes: object, restype: object = _INT) -> "ctypes._NamedFuncPointer":
    # Item access makes a new function object, so that its argument types are this one's alone.
    function = _library[name]
    function.argtypes = argtypes  # type: ignore[assignment]
    function.restype = restype  # type: ignore[assignment]
    return function


# Without declared types an int is passed as a C int, bytes and a c_void_p as a pointer: all that these two are given,
# and 0.4 µs less than converting each argument to its type, which is as much as half the system call.
statx = _library["statx"]
getxattrat = _library["syscall"]
getxattrat.restype = _LONG
listxattrat = getxattrat
fgetxattr = _library["fgetxattr"]
getxattr = _library["getxattr"]
fgetxattr.restype = getxattr.restype = ctypes.c_ssize_t
renameat2 = _function("renameat2", _INT, _BYTES, _INT, _BYTES, _UINT)
utimensat = _function("utimensat", _INT, _BYTES, _POINTER, _INT)
fallocate = _function("fallocate64", _INT, _INT, ctypes.c_int64, ctypes.c_int64)
fstatfs = _function("fstatfs64", _INT, _POINTER)
inotify_init1 = _function("inotify_init1", _INT)
inotify_add_watch = _function("inotify_add_watch", _INT, _BYTES, ctypes.c_uint32)
inotify_rm_watch = _function("inotify_rm_watch", _INT, _INT)
quotactl = _function("syscall", _LONG, _INT, _UINT, _INT, _POINTER, restype=_LONG)
signalfd = _function("signalfd", _INT, _BYTES, _INT)
_openat2 = _library["syscall"]


def _pointer_to(buffer: bytearray) -> ctypes.c_void_p:
    # The array keeps the buffer where it is for as long as the pointer lives.
    array = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    pointer = ctypes.c_void_p(ctypes.addressof(array))
    pointer._array = array  # type: ignore[attr-defined]
    return pointer


class _Buffers(threading.local):
    def __init__(self) -> None:
        buffer = bytearray(256)
        # Together, for a look into thread-local storage costs as much as a small function call.
        self.statx = buffer, _pointer_to(buffer)
        value = bytearray(256)
        self._arguments = bytearray(_XATTR_ARGUMENTS.pack(_pointer_to(value).value or 0, len(value), 0))
        self.xattr = value, _pointer_to(self._arguments)
        self.value = value, _pointer_to(value), ctypes.c_size_t(len(value))
        names = bytearray(1024)
        self.xattr_names = names, _pointer_to(names), ctypes.c_size_t(len(names))
        how = bytearray(_OPEN_HOW.size)
        self.how = how, _pointer_to(how)


buffers = _Buffers()
"""This thread's structures."""


def fail(path: bytes | str | None = None) -> NoReturn:
    """Raise the OSError of the call that has just failed."""
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


def openat2(directory: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """Make the system call as it is; EAGAIN, which a rename during resolution may cause, is retried a few times."""
    how, address = buffers.how
    _OPEN_HOW.pack_into(how, 0, flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(16):
        fd: int = _openat2(_OPENAT2, directory, path, address, _OPEN_HOW_SIZE)
        if fd >= 0:
            return fd
        if ctypes.get_errno() != errno.EAGAIN:
            break
    fail(path)


def _has_openat2() -> bool:
    try:
        os.close(openat2(AT_FDCWD, b".", os.O_PATH, 0, RESOLVE_BENEATH))
    except OSError as error:
        # Old container runtimes answer EPERM to system calls that they do not know.
        return error.errno not in {errno.ENOSYS, errno.EPERM}
    return True


HAS_OPENAT2 = _has_openat2()
"""Whether the kernel (5.6 and later) resolves beneath a directory by itself."""


def _has_getxattrat() -> bool:
    arguments = buffers.xattr[1]
    found = getxattrat(GETXATTRAT, AT_FDCWD, b".", 0, b"user.lamina.probe", arguments, XATTR_ARGUMENTS_SIZE)
    return found >= 0 or ctypes.get_errno() in {errno.ENODATA, errno.ENOTSUP, errno.EACCES}


HAS_GETXATTRAT = _has_getxattrat()
"""Whether the kernel (6.13 and later) reads extended attributes relative to a directory."""
