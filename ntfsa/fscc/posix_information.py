"""What the POSIX extensions of SMB 3.1.1 tell of files, directories and file systems (POSIX-FSCC 2.1 to 2.3).

The answer to the create context and the information class 100, which both queries and listings know. The mode is as
in POSIX, but for the type of the file, which has three bits.
"""

import stat as st
from struct import Struct
from typing import Final, NamedTuple

from lamina.ntfsa.fscc.fields import UINT32, encode_name
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.security.sid import pack_sid
from lamina.ntfsa.status import NtStatus, NtStatusError

IO_REPARSE_TAG_NFS: Final = 0x80000014
"""The tag of what is neither file nor directory nor symbolic link (MS-FSCC 2.1.2.1)."""

NULL_SID: Final = "S-1-0-0"
PERMISSIONS: Final = 0o7777

_DETAILS: Final = Struct("<III")  # links, reparse tag, mode
_INFORMATION: Final = Struct("<6QIQII")  # times, end of file, allocation size, attributes, inode, device, reserved
_ENTRY: Final = Struct("<II")
_FILE_SYSTEM: Final = Struct("<II6Q")
_UNKNOWN: Final = 0xFFFFFFFFFFFFFFFF
_TYPE_SHIFT: Final = 12
# POSIX-FSCC 2.1.1.2 POSIX File Type Definition. Files and directories, which is 1 there, are told by the attributes:
# Linux before 6.12 takes the mode for one as in stat and cannot make sense of a directory with that bit (and later
# ones know servers that leave it out).
_TYPES: Final = {
    st.S_IFLNK: 2,
    st.S_IFCHR: 3,
    st.S_IFBLK: 4,
    st.S_IFIFO: 5,
    st.S_IFSOCK: 6,
}
_LEAST_SID: Final = 8
# InodeType of MS-FSCC 2.1.2.6 Network File System (NFS) Reparse Data Buffer: letters that name it, the last one first.
_NFS_TYPES: Final = {st.S_IFIFO: 0x4F464946, st.S_IFSOCK: 0x4B434F53}
_NFS_KINDS: Final = {number: kind for kind, number in _NFS_TYPES.items()} | {
    0x014B4E4C: st.S_IFLNK,
    0x00524843: st.S_IFCHR,
    0x004B4C42: st.S_IFBLK,
}

POSIX_INFORMATION_SIZE: Final = _INFORMATION.size + _DETAILS.size
"""Bytes of the class before the SIDs: there must be room for these at least."""


class PosixDetails(NamedTuple):
    """What the create context is answered with. `mode` is that of stat; owner and group are SIDs."""

    links: int
    reparse_tag: int
    mode: int
    owner: str
    group: str


class PosixInformation(NamedTuple):
    """Everything that class 100 tells of a file. Of `device` 32 bits are told, which tell devices apart as it does."""

    network_open: NetworkOpenInformation
    inode: int
    device: int
    details: PosixDetails


class PosixFileSystem(NamedTuple):
    """FileFsPosixInformation: sizes in units of `block_size`; numbers of files are None where nobody knows them."""

    block_size: int
    total: int
    free: int
    available: int
    files: int | None
    free_files: int | None
    volume_id: int


def wire_mode(mode: int) -> int:
    """POSIX-FSCC 2.1.1 POSIX Mode: permissions as they are, and the type of special files in three bits above them."""
    return mode & PERMISSIONS | _TYPES.get(st.S_IFMT(mode), 0) << _TYPE_SHIFT


def pack_posix_details(details: PosixDetails) -> bytes:
    """The answer to the create context (POSIX-SMB2 2.2.14.2.16)."""
    fixed = _DETAILS.pack(details.links & 0xFFFFFFFF, details.reparse_tag, wire_mode(details.mode))
    return fixed + pack_sid(details.owner) + pack_sid(details.group)


def pack_posix_information(information: PosixInformation) -> bytes:
    """FilePosixInformation (POSIX-FSCC 2.3.1.1)."""
    known = information.network_open
    fixed = _INFORMATION.pack(
        *known[:4],
        known.end_of_file,
        known.allocation_size,
        known.file_attributes,
        information.inode,
        (information.device ^ information.device >> 32) & 0xFFFFFFFF,
        0,
    )
    return fixed + pack_posix_details(information.details)


def pack_posix_file_system(sizes: PosixFileSystem) -> bytes:
    """FileFsPosixInformation (POSIX-FSCC 2.3.2.1)."""
    unit = sizes.block_size or 1
    return _FILE_SYSTEM.pack(
        unit,
        unit,
        sizes.total // unit,
        sizes.free // unit,
        sizes.available // unit,
        _UNKNOWN if sizes.files is None else sizes.files,
        _UNKNOWN if sizes.free_files is None else sizes.free_files,
        sizes.volume_id & _UNKNOWN,
    )


def special_file_data(mode: int) -> bytes | None:
    """The reparse data of a pipe or socket (MS-FSCC 2.1.2.6), None for any other file."""
    inode_type = _NFS_TYPES.get(st.S_IFMT(mode))
    return None if inode_type is None else inode_type.to_bytes(8, "little")


def special_kind(data: bytes) -> int:
    """What a reparse point with the tag IO_REPARSE_TAG_NFS stands for, as the type in a mode; 0 where nobody knows."""
    return _NFS_KINDS.get(int.from_bytes(data[:8], "little"), 0)


class PosixDirectoryBuffer:
    """The answer to one QUERY_DIRECTORY of class 100, of at most `max_length` bytes.

    Raises INFO_LENGTH_MISMATCH where there is not even room for what an entry has before its SIDs.
    """

    __slots__ = ("_data", "_last", "_max_length", "count")

    def __init__(self, max_length: int) -> None:
        if max_length < _ENTRY.size + POSIX_INFORMATION_SIZE + 2 * _LEAST_SID + UINT32.size:
            raise NtStatusError(NtStatus.INFO_LENGTH_MISMATCH)
        self.count = 0
        self._data = bytearray()
        self._last = 0
        self._max_length = max_length

    def append(self, name: str, information: PosixInformation) -> bool:
        """Add an entry; False and nothing added if it does not fit."""
        encoded = encode_name(name)
        entry = pack_posix_information(information) + UINT32.pack(len(encoded)) + encoded
        start = (len(self._data) + 7) & ~7
        size = _ENTRY.size + len(entry)
        if start + size > self._max_length:
            return False
        self._data += bytes(start - len(self._data))
        self._data += _ENTRY.pack((size + 7) & ~7, 0) + entry
        self._last = start
        self.count += 1
        return True

    def finish(self) -> bytes:
        """The entries as they are sent; the last says that nothing follows."""
        if self.count:
            UINT32.pack_into(self._data, self._last, 0)
        return bytes(self._data)
