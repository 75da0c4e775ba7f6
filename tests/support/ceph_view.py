"""A client of CephFS that is not Lamina's: libcephfs by paths, as the administrator."""

import ctypes
import os
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_uint, c_uint16, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

_ALL = 0x0FFF


class _Statx(ctypes.Structure):
    """struct ceph_statx."""

    _fields_ = (
        ("mask", c_uint32),
        ("blksize", c_uint32),
        ("nlink", c_uint32),
        ("uid", c_uint32),
        ("gid", c_uint32),
        ("mode", c_uint16),
        ("ino", c_uint64),
        ("size", c_uint64),
        ("rest", c_uint64 * 32),
    )


class CephView:
    """A mount, with the methods of a `StoreView`."""

    def __init__(self, configuration: Path, filesystem: str) -> None:
        self._library = ctypes.CDLL("libcephfs.so.2")
        self._mount = c_void_p()
        self._call("create", byref(self._mount), b"admin", mounted=False)
        self._call("conf_read_file", bytes(configuration))
        self._call("select_filesystem", filesystem.encode())
        self._call("mount", b"/")

    def _call(self, name: str, *arguments: Any, mounted: bool = True) -> int:
        function = getattr(self._library, f"ceph_{name}")
        result: int = function(self._mount, *arguments) if mounted else function(*arguments)
        if result < 0:
            raise OSError(-result, f"{name}: {os.strerror(-result)}")
        return result

    def stat(self, path: str) -> tuple[int, int, int, int]:
        """The fields of a `Stat`."""
        found = _Statx()
        self._call("statx", path.encode(), byref(found), c_uint(_ALL), c_uint(0))
        return found.uid, found.gid, found.mode, found.size

    def read(self, path: str) -> bytes:
        descriptor = self._call("open", path.encode(), os.O_RDONLY, 0)
        try:
            size = self.stat(path)[3]
            buffer = ctypes.create_string_buffer(size or 1)
            got = self._call("read", c_int(descriptor), buffer, c_int64(size), c_int64(0))
            return buffer.raw[:got]
        finally:
            self._call("close", descriptor)

    def write(self, path: str, data: bytes) -> None:
        descriptor = self._call("open", path.encode(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            # The library ends the process where there is nothing to write.
            if data:
                self._call("write", c_int(descriptor), c_char_p(data), c_int64(len(data)), c_int64(0))
        finally:
            self._call("close", descriptor)

    def make_folder(self, path: str) -> None:
        self._call("mkdir", path.encode(), 0o777)

    def remove_folder(self, path: str) -> None:
        self._call("rmdir", path.encode())

    def remove(self, path: str) -> None:
        self._call("unlink", path.encode())

    def give(self, path: str, uid: int, gid: int, mode: int) -> None:
        self._call("chown", path.encode(), uid, gid)
        self._call("chmod", path.encode(), mode)

    def attribute(self, path: str, name: str) -> bytes:
        buffer = ctypes.create_string_buffer(65536)
        got = self._call("getxattr", path.encode(), name.encode(), buffer, c_size_t(65536))
        return buffer.raw[:got]

    def set_attribute(self, path: str, name: str, value: bytes) -> None:
        self._call("setxattr", path.encode(), name.encode(), c_char_p(value), c_size_t(len(value)), 0)

    def names(self, path: str) -> list[str]:
        directory = c_void_p()
        self._call("opendir", path.encode(), byref(directory))
        buffer = ctypes.create_string_buffer(65536)
        found = b""
        try:
            while got := self._call("getdnames", directory, buffer, c_int(65536)):
                found += buffer.raw[:got]
        finally:
            self._call("closedir", directory)
        return sorted({name.decode() for name in found.split(b"\0") if name not in {b"", b".", b".."}})
