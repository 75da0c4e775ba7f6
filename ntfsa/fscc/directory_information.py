"""Entries of directory listings (MS-FSCC 2.4: the classes that MS-SMB2 2.2.33 names), packed into one answer.

A DirectoryBuffer is made per QUERY_DIRECTORY and given entries until one does not fit; each costs one pack.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.fields import UINT32, UINT64
from lamina.ntfsa.status import NtStatus, NtStatusError

# All begin with NextEntryOffset, FileIndex; all but FileNames go on with four times, end of file, allocation size,
# attributes and the length of the name. The length of a short name (8.3) is 0 where there is none.
_DIRECTORY: Final = Struct("<II6QII")
_FULL: Final = Struct("<II6QIII")
_ID_FULL: Final = Struct("<II6QIIIIQ")
_BOTH: Final = Struct("<II6QIII26x")
_ID_BOTH: Final = Struct("<II6QIII26x2xQ")
_NAMES: Final = Struct("<III")
_ID_EXTD: Final = Struct("<II6QIIIIQ8x")
_ID_EXTD_BOTH: Final = Struct("<II6QIIIIQ8x26x")

_STRUCTS: Final = {
    c.FILE_DIRECTORY_INFORMATION: _DIRECTORY,
    c.FILE_FULL_DIRECTORY_INFORMATION: _FULL,
    c.FILE_ID_FULL_DIRECTORY_INFORMATION: _ID_FULL,
    c.FILE_BOTH_DIRECTORY_INFORMATION: _BOTH,
    c.FILE_ID_BOTH_DIRECTORY_INFORMATION: _ID_BOTH,
    c.FILE_NAMES_INFORMATION: _NAMES,
    c.FILE_ID_EXTD_DIRECTORY_INFORMATION: _ID_EXTD,
    c.FILE_ID_EXTD_BOTH_DIRECTORY_INFORMATION: _ID_EXTD_BOTH,
}

_ID_BOTH_CLASS: Final = c.FILE_ID_BOTH_DIRECTORY_INFORMATION
_PADDING: Final = bytes(7)

# What follows the length of the name in an entry of _ID_BOTH, before the file id.
_RICH: Final = Struct("<IBx24sH")
_EA_SIZE_AT: Final = _DIRECTORY.size
_FILE_ID_AT: Final = _EA_SIZE_AT + _RICH.size

_WITH_EA: Final = {c.FILE_FULL_DIRECTORY_INFORMATION, c.FILE_BOTH_DIRECTORY_INFORMATION}
# Its length in one byte, one reserved, and 24 for the name.
_SHORT_NAME_AT: Final = {
    c.FILE_BOTH_DIRECTORY_INFORMATION: 68,
    c.FILE_ID_BOTH_DIRECTORY_INFORMATION: 68,
    c.FILE_ID_EXTD_BOTH_DIRECTORY_INFORMATION: 88,
}

_WITH_ID: Final = {c.FILE_ID_FULL_DIRECTORY_INFORMATION}
_WITH_TAG_AND_ID: Final = {c.FILE_ID_EXTD_DIRECTORY_INFORMATION, c.FILE_ID_EXTD_BOTH_DIRECTORY_INFORMATION}

DIRECTORY_MINIMUM: Final = {info_class: structure.size for info_class, structure in _STRUCTS.items()}
"""Bytes of each class before the name: an answer with less room is INFO_LENGTH_MISMATCH (MS-FSA 2.1.5.6.3)."""

NEEDS_STAT: Final = frozenset(_STRUCTS) - {c.FILE_NAMES_INFORMATION}
"""The classes that say more than the name."""


class DirectoryBuffer:
    """The answer to one QUERY_DIRECTORY, of at most `max_length` bytes.

    Raises INVALID_INFO_CLASS for a class that is none of directories, INFO_LENGTH_MISMATCH where not even an entry's
    fixed part has room.
    """

    __slots__ = ("_data", "_fixed", "_info_class", "_last", "_max_length", "_pack", "count")

    def __init__(self, info_class: int, max_length: int) -> None:
        structure = _STRUCTS.get(info_class)
        if structure is None:
            raise NtStatusError(NtStatus.INVALID_INFO_CLASS)
        if max_length < structure.size:
            raise NtStatusError(NtStatus.INFO_LENGTH_MISMATCH)
        self.count = 0
        self._data = bytearray()
        self._fixed = structure.size
        self._pack: Callable[..., bytes] = structure.pack
        self._info_class = info_class
        self._last = 0
        self._max_length = max_length

    @property
    def has_short_names(self) -> bool:
        """Whether entries of this class tell short names, too."""
        return self._info_class in _SHORT_NAME_AT

    def append(
        self,
        name: str,
        times: tuple[int, int, int, int] = (0, 0, 0, 0),
        end_of_file: int = 0,
        allocation_size: int = 0,
        attributes: int = 0,
        ea_size: int = 0,
        file_id: int = 0,
        reparse_tag: int = 0,
    ) -> bool:
        """Add an entry; False and nothing added if it does not fit.

        `times` are creation, last access, last write and change as FILETIME. A reparse point's tag goes where a
        class has no field for it into EaSize (MS-FSCC 2.4.8, FileBothDirectoryInformation).
        """
        encoded = name.encode("utf-16-le", "surrogatepass")
        length = len(encoded)
        data, fixed = self._data, self._fixed
        end = len(data)
        start = (end + 7) & -8
        if start + fixed + length > self._max_length:
            return False
        if start != end:
            data += _PADDING[: start - end]
        following = (fixed + length + 7) & -8
        info_class = self._info_class
        if info_class == _ID_BOTH_CLASS:
            data += self._pack(
                following, 0, *times, end_of_file, allocation_size, attributes, length,
                reparse_tag or ea_size, file_id,
            )  # fmt: skip
        elif info_class == c.FILE_NAMES_INFORMATION:
            data += self._pack(following, 0, length)
        else:
            rest = self._rest(ea_size, file_id, reparse_tag)
            data += self._pack(
                following, 0, *times, end_of_file, allocation_size, attributes, length, *rest
            )  # fmt: skip
        data += encoded
        self._last = start
        self.count += 1
        return True

    def add_short_name(self, name: str) -> None:
        """Tell the short name, of at most 12 characters, of the entry that was added last; the class must have one."""
        encoded = name.encode("utf-16-le", "surrogatepass")
        at = self._last + _SHORT_NAME_AT[self._info_class]
        self._data[at] = len(encoded)
        self._data[at + 2 : at + 2 + len(encoded)] = encoded

    def _rest(self, ea_size: int, file_id: int, reparse_tag: int) -> tuple[int, ...]:
        info_class = self._info_class
        if info_class in _WITH_TAG_AND_ID:
            return (ea_size, reparse_tag, file_id)
        if info_class in _WITH_ID:
            return (reparse_tag or ea_size, 0, file_id)
        return (reparse_tag or ea_size,) if info_class in _WITH_EA else ()

    def enrich(self, ea_size: int, short_name: bytes, reserved: int) -> None:
        """Let the last entry, a FileIdBothDirectoryInformation, say other things where its short name would be."""
        _RICH.pack_into(self._data, self._last + _EA_SIZE_AT, ea_size, len(short_name), short_name, reserved & 0xFFFF)

    def hide_file_id(self) -> None:
        """Let the last entry, a FileIdBothDirectoryInformation, have no file id."""
        UINT64.pack_into(self._data, self._last + _FILE_ID_AT, 0)

    def finish(self) -> bytes:
        """The entries as they are sent; the last says that nothing follows."""
        if self.count:
            UINT32.pack_into(self._data, self._last, 0)
        return bytes(self._data)
