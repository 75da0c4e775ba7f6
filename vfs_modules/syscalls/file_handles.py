"""File handles: names of files that outlive their paths and the kernel's memory (name_to_handle_at(2)).

A handle finds the very file, or nothing: a file that takes the number of a deleted one has another. Making one is
anybody's right; opening one takes CAP_DAC_READ_SEARCH, as no directory on the way is asked.
"""

import ctypes
import os
from typing import Final, NamedTuple

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.syscalls.attributes import proc_path
from lamina.vfs_modules.token import SERVER_TOKEN

_MAX_BYTES: Final = 128  # MAX_HANDLE_SZ


class _FileHandle(ctypes.Structure):
    _fields_ = [
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _MAX_BYTES),
    ]


_library = ctypes.CDLL(None, use_errno=True)


class FileHandle(NamedTuple):
    """What name_to_handle_at says of a file: the file system's own kind, and its bytes."""

    kind: int
    data: bytes


def file_handle(fd: int) -> FileHandle:
    """The handle of an open file. EOPNOTSUPP where the file system has none."""
    handle, mount = _FileHandle(handle_bytes=_MAX_BYTES), ctypes.c_int()
    if _library.name_to_handle_at(fd, b"", ctypes.byref(handle), ctypes.byref(mount), libc.AT_EMPTY_PATH):
        libc.fail()
    return FileHandle(handle.handle_type, bytes(handle.f_handle[: handle.handle_bytes]))


def open_file_handle(mount: int, wanted: FileHandle) -> int:
    """A descriptor (O_PATH) of the file of a handle, on the file system of the descriptor `mount`; as the server.

    ESTALE where the file is gone, EPERM where the server may not.
    """
    if len(wanted.data) > _MAX_BYTES:
        raise ValueError(f"a file handle of {len(wanted.data)} bytes")
    handle = _FileHandle(handle_bytes=len(wanted.data), handle_type=wanted.kind)
    ctypes.memmove(handle.f_handle, wanted.data, len(wanted.data))
    assume(SERVER_TOKEN)
    # A descriptor that is a mere path (O_PATH) is not good enough to say which file system is meant.
    here = os.open(proc_path(mount), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fd: int = _library.open_by_handle_at(here, ctypes.byref(handle), os.O_PATH | os.O_CLOEXEC)
        if fd < 0:
            libc.fail()
        return fd
    finally:
        os.close(here)
