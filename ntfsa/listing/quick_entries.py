"""The way of most entries of a listing into the answer: a file or directory of which everything is known already.

It puts in exactly what the long way (`directory`) does, in one function and with no object made on the way: a folder of
ten thousand files asks for it ten thousand times. What is out of the ordinary - no status, attributes to be asked
for, a reparse point, a name that hides, a file that is being written, a time of another age - is left to the long way.
A property test has both put in the same.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.times.filetime import EPOCH_DIFFERENCE, PLAIN_TIMES_END

if TYPE_CHECKING:
    from lamina.ntfsa.fscc.directory_information import DirectoryBuffer
    from lamina.ntfsa.listing.enumeration import Listed
    from lamina.ntfsa.volume import NtVolume

_TYPE: Final = 0o170000
_DIRECTORY: Final = 0o040000
_REGULAR: Final = 0o100000
_CLUSTER: Final = 4096
_IS_DIRECTORY: Final = c.FILE_ATTRIBUTE_DIRECTORY
_NORMAL: Final = c.FILE_ATTRIBUTE_NORMAL
_SPARSE: Final = c.FILE_ATTRIBUTE_SPARSE_FILE
_REPARSE_POINT: Final = c.FILE_ATTRIBUTE_REPARSE_POINT


def quickly(
    volume: "NtVolume", buffer: "DirectoryBuffer", long_way: "Callable[[Listed], bool]"
) -> "Callable[[Listed], bool]":
    """What puts an entry into `buffer` as `long_way` does, False where it has no room."""
    read, put = volume.registry.read, buffer.append
    if volume.settings.hidden_names:
        return long_way

    def append(entry: "Listed") -> bool:
        name, stat, dos, may_have_eas = entry
        if stat is None or dos is None or may_have_eas or name[:1] == ".":
            return long_way(entry)
        dev, ino, mode, _, _, _, size, allocated, accessed, written, changed, _, compressed = stat
        stored, created, change = dos
        if change is not None:
            changed = change
        kind = mode & _TYPE
        if kind == _REGULAR:
            attributes = stored or _NORMAL
            needed = (size + _CLUSTER - 1) & -_CLUSTER
            # As `file_state.allocation_size`.
            if not (size <= allocated <= needed or stored & _SPARSE or allocated > needed + _CLUSTER):
                allocated = needed
        elif kind == _DIRECTORY:
            attributes = stored | _IS_DIRECTORY
            size = allocated = 0
        else:
            return long_way(entry)
        if (
            created is None
            or compressed
            or stored & _REPARSE_POINT
            or not 0 <= created | accessed | written | changed < PLAIN_TIMES_END
            or read((dev, ino, "")).write_time is not None
        ):
            return long_way(entry)
        return put(
            name,
            (
                created // 100 + EPOCH_DIFFERENCE,
                accessed // 100 + EPOCH_DIFFERENCE,
                written // 100 + EPOCH_DIFFERENCE,
                changed // 100 + EPOCH_DIFFERENCE,
            ),
            size,
            allocated,
            attributes,
            0,
            ino,
        )

    return append
