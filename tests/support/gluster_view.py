"""A client of GlusterFS that is not Lamina's: libgfapi by paths, as root."""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_ssize_t, c_void_p
from typing import Any

_PORT = 24007


class _Stat(ctypes.Structure):
    """struct stat of x86-64, up to the size."""

    _fields_ = (
        ("device", ctypes.c_uint64),
        ("inode", ctypes.c_uint64),
        ("links", ctypes.c_uint64),
        ("mode", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("special", ctypes.c_uint64),
        ("size", ctypes.c_int64),
        ("rest", ctypes.c_uint64 * 32),
    )


class _Entry(ctypes.Structure):
    """struct dirent of 64-bit Linux."""

    _fields_ = (
        ("inode", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("length", ctypes.c_uint16),
        ("kind", ctypes.c_uint8),
        ("name", ctypes.c_char * 256),
    )


class GlusterView:
    """A volume, with the methods of a `StoreView`. It is never given back: that takes ten seconds."""

    def __init__(self, host: str, volume: str) -> None:
        self._library = ctypes.CDLL("libgfapi.so.0", use_errno=True)
        self._volume = self._pointer("new", volume.encode())
        self._call("set_volfile_server", self._volume, b"tcp", host.encode(), _PORT)
        self._call("set_logging", self._volume, b"/dev/null", 0)
        self._call("init", self._volume)

    def _call(self, name: str, *arguments: Any, kind: Any = c_int) -> int:
        function = getattr(self._library, f"glfs_{name}")
        function.restype = kind
        result: int | None = function(*arguments)
        if result is None or (kind is not c_void_p and result < 0):
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
        return result

    def _pointer(self, name: str, *arguments: Any) -> c_void_p:
        return c_void_p(self._call(name, *arguments, kind=c_void_p))

    def stat(self, path: str) -> tuple[int, int, int, int]:
        """The fields of a `Stat`."""
        found = _Stat()
        self._call("stat", self._volume, path.encode(), ctypes.byref(found))
        return found.uid, found.gid, found.mode, found.size

    def read(self, path: str) -> bytes:
        size = self.stat(path)[3]
        if not size:
            return b""
        buffer = ctypes.create_string_buffer(size)
        descriptor = self._pointer("open", self._volume, path.encode(), os.O_RDONLY)
        try:
            got = self._call("read", descriptor, buffer, c_size_t(size), c_int(0), kind=c_ssize_t)
            return buffer.raw[:got]
        finally:
            self._call("close", descriptor)

    def write(self, path: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = self._pointer("creat", self._volume, path.encode(), flags, 0o666)
        try:
            self._call("write", descriptor, c_char_p(data), c_size_t(len(data)), c_int(0), kind=c_ssize_t)
        finally:
            self._call("close", descriptor)

    def make_folder(self, path: str) -> None:
        self._call("mkdir", self._volume, path.encode(), 0o777)

    def remove_folder(self, path: str) -> None:
        self._call("rmdir", self._volume, path.encode())

    def remove(self, path: str) -> None:
        self._call("unlink", self._volume, path.encode())

    def give(self, path: str, uid: int, gid: int, mode: int) -> None:
        self._call("chown", self._volume, path.encode(), uid, gid)
        self._call("chmod", self._volume, path.encode(), mode)

    def attribute(self, path: str, name: str) -> bytes:
        buffer = ctypes.create_string_buffer(65536)
        place = (self._volume, path.encode(), name.encode())
        got = self._call("getxattr", *place, buffer, c_size_t(65536), kind=c_ssize_t)
        return buffer.raw[:got]

    def set_attribute(self, path: str, name: str, value: bytes) -> None:
        place = (self._volume, path.encode(), name.encode())
        self._call("setxattr", *place, c_char_p(value), c_size_t(len(value)), c_int(0))

    def names(self, path: str) -> list[str]:
        directory = self._pointer("opendir", self._volume, path.encode())
        self._library.glfs_readdir.restype = POINTER(_Entry)
        found = set()
        try:
            while entry := self._library.glfs_readdir(directory):
                found.add(entry.contents.name.decode())
        finally:
            self._call("closedir", directory)
        return sorted(found - {".", ".."})
