"""What Btrfs knows of its subvolumes, by calls that need no privileges (ioctl numbers and layouts: linux/btrfs.h).

Descriptors must be open for reading.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from lamina.vfs_modules.names import decode_name

_SUBVOL_INFO: Final = 0x81F8943C
_SUBVOL_ROOTREF: Final = 0xD000943D
_INO_LOOKUP_USER: Final = 0xD000943E

_INFO: Final = struct.Struct("=Q256sQQQQ16s16s16s4Q" + "QI4x" * 4 + "64x")
_ROOTREFS: Final = struct.Struct("=Q4080xB7x")
_ROOTREF: Final = struct.Struct("=QQ")
_LOOKUP: Final = struct.Struct("=QQ256s3824s")
_MOST_ROOTREFS: Final = 255
_ROOT_INODE: Final = 256
_NANO: Final = 1_000_000_000


class Subvolume(NamedTuple):
    """What is kept of a subvolume. `parent`: the `uuid` of the one it is a snapshot of, zeros for none."""

    number: int
    uuid: bytes
    parent: bytes
    otime_ns: int


def subvolume(fd: int) -> Subvolume:
    """The subvolume that a file is in. Raises ENOTTY where the file system is another."""
    buffer = bytearray(_INFO.size)
    fcntl.ioctl(fd, _SUBVOL_INFO, buffer)
    fields = _INFO.unpack(buffer)
    seconds, nanoseconds = fields[15:17]
    return Subvolume(fields[0], fields[6], fields[7], seconds * _NANO + nanoseconds)


def subvolumes_beneath(fd: int) -> Iterator[str]:
    """The paths, from the directory `fd`, of the subvolumes beneath it that are children of its own subvolume."""
    for number, directory in _children(fd):
        buffer = bytearray(_LOOKUP.pack(directory, number, b"", b""))
        try:
            fcntl.ioctl(fd, _INO_LOOKUP_USER, buffer)
        except OSError as error:
            # It is elsewhere in the subvolume, or has gone just now.
            if error.errno in {errno.ENOENT, errno.EACCES, errno.ESTALE, errno.ENOTDIR}:
                continue
            raise
        _, _, name, path = _LOOKUP.unpack(buffer)
        yield decode_name(path.partition(b"\0")[0] + name.partition(b"\0")[0])


def _children(fd: int) -> Iterator[tuple[int, int]]:
    start = 0
    while True:
        buffer = bytearray(_ROOTREFS.size)
        struct.pack_into("=Q", buffer, 0, start)
        try:
            fcntl.ioctl(fd, _SUBVOL_ROOTREF, buffer)
            more = False
        except OSError as error:
            if error.errno != errno.EOVERFLOW:
                raise
            more = True
        count = min(_ROOTREFS.unpack(buffer)[1], _MOST_ROOTREFS)
        found = [_ROOTREF.unpack_from(buffer, 8 + index * _ROOTREF.size) for index in range(count)]
        yield from found
        if not more or not found:
            return
        start = found[-1][0] + 1


def path_in_subvolume(path: str) -> str:
    """The path of a folder from the root of the Btrfs subvolume that it is in; "" for the root itself."""
    whole, parts = os.path.realpath(path), []
    device = os.stat(whole).st_dev
    while os.stat(whole).st_ino != _ROOT_INODE:
        parent, name = os.path.split(whole)
        if parent == whole or os.stat(parent).st_dev != device:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        whole = parent
        parts.append(name)
    return "/".join(reversed(parts))


def mount_point(path: str) -> str:
    """Where the file system of a folder is mounted."""
    whole = os.path.realpath(path)
    while not os.path.ismount(whole):
        whole = os.path.dirname(whole)
    return whole


def relative_to(path: str, base: str) -> str:
    """The path of a folder from another that it is in; "" for the same. Raises ENOENT where it is not in it."""
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(base))
    if relative.split("/")[0] == "..":
        raise OSError(errno.ENOENT, f"{path!r} is not in {base!r}", path)
    return "" if relative == "." else relative
