"""What NT clients see of a file: attributes, times and sizes made of what the chain says (MS-FSA 2.1.1.3 Per File)."""

from typing import TYPE_CHECKING, Final

from lamina.ntfsa.constants import (
    FILE_ATTRIBUTE_COMPRESSED,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
)
from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.times.filetime import EPOCH_DIFFERENCE, PLAIN_TIMES_END, to_filetime
from lamina.ntfsa.times.modification import shown_stat
from lamina.vfs_modules.operations import DosAttributes, FileStat

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.vfs_modules.token import ImpersonationToken

_TYPE: Final = 0o170000
_DIRECTORY: Final = 0o040000
_REGULAR: Final = 0o100000
_LINK: Final = 0o120000
_CLUSTER: Final = 4096
# Every open and query passes here: this costs half of calling the class.
_new = tuple.__new__
# What was told lately, by inode: for as long as the very same status and attributes are found again.
_told: dict[int, tuple[FileStat, DosAttributes, bool, NetworkOpenInformation]] = {}
_MOST_TOLD: Final = 1024


def is_directory(stat: FileStat) -> bool:
    """Whether `stat` is a directory's."""
    return stat.mode & _TYPE == _DIRECTORY


def is_regular(stat: FileStat) -> bool:
    """Whether `stat` is a regular file's: not a pipe, socket or device."""
    return stat.mode & _TYPE == _REGULAR


def shown_attributes(stat: FileStat, stored: int, hidden_name: bool = False) -> int:
    """FILE_ATTRIBUTE_* as clients see them (MS-FSCC 2.6): NORMAL stands for none."""
    if hidden_name:
        stored |= FILE_ATTRIBUTE_HIDDEN
    if stat.compressed:
        stored |= FILE_ATTRIBUTE_COMPRESSED
    kind = stat.mode & _TYPE
    if kind == _DIRECTORY:
        return stored | FILE_ATTRIBUTE_DIRECTORY
    if kind == _LINK:
        stored |= FILE_ATTRIBUTE_REPARSE_POINT
    return stored or FILE_ATTRIBUTE_NORMAL


def creation_ns(stat: FileStat, dos: DosAttributes) -> int:
    """The creation time: stored, else the file system's, else the oldest time that is known."""
    if dos.creation_ns is not None:
        return dos.creation_ns
    if stat.btime_ns is not None:
        return stat.btime_ns
    return min(stat.mtime_ns, stat.ctime_ns, stat.atime_ns)


def change_ns(stat: FileStat, dos: DosAttributes) -> int:
    """The change time: one that was set and still counts, else the file system's status change time.

    POSIX changes that one whenever MS-FSA has LastChangeTime changed: data, attributes, names, security, times.
    """
    return stat.ctime_ns if dos.change_ns is None else dos.change_ns


def allocation_size(stat: FileStat, stored: int = 0, reserved: int = 0) -> int:
    """Bytes taken on disk by the data of a file for which `reserved` bytes were asked.

    A file system that allocates late is believed to take what the file will need, and one that takes a block more than
    that to have put the extended attributes there, which NT does not count.
    """
    if stat.mode & _TYPE != _REGULAR:
        return 0
    wanted = max(stat.size, reserved)
    needed = (wanted + _CLUSTER - 1) & -_CLUSTER
    if wanted <= stat.allocated <= needed or stored & FILE_ATTRIBUTE_SPARSE_FILE:
        return stat.allocated
    return stat.allocated if stat.allocated > needed + _CLUSTER else needed


def end_of_file(stat: FileStat) -> int:
    """The size; 0 for what is no regular file: a directory, a symbolic link."""
    return stat.size if stat.mode & _TYPE == _REGULAR else 0


def network_open(
    stat: FileStat, dos: DosAttributes, hidden_name: bool = False, reserved: int = 0
) -> NetworkOpenInformation:
    """Everything that CREATE, CLOSE and QUERY_INFO tell of a file."""
    known = _told.get(stat.ino)
    if known is not None and known[0] is stat and known[1] is dos and known[2] == hidden_name and not reserved:
        return known[3]
    told = _network_open(stat, dos, hidden_name, reserved)
    if not reserved:
        if len(_told) >= _MOST_TOLD:
            _told.clear()
        _told[stat.ino] = stat, dos, hidden_name, told
    return told


def _network_open(stat: FileStat, dos: DosAttributes, hidden_name: bool, reserved: int) -> NetworkOpenInformation:
    stored = dos.attributes
    times = created, accessed, written, changed = (
        creation_ns(stat, dos) if dos.creation_ns is None else dos.creation_ns,
        stat.atime_ns,
        stat.mtime_ns,
        stat.ctime_ns if dos.change_ns is None else dos.change_ns,
    )
    if 0 <= created | accessed | written | changed < PLAIN_TIMES_END:
        filetimes = (
            created // 100 + EPOCH_DIFFERENCE,
            accessed // 100 + EPOCH_DIFFERENCE,
            written // 100 + EPOCH_DIFFERENCE,
            changed // 100 + EPOCH_DIFFERENCE,
        )
    else:
        filetimes = to_filetime(times[0]), to_filetime(times[1]), to_filetime(times[2]), to_filetime(times[3])
    sizes = allocation_size(stat, stored, reserved), end_of_file(stat)
    return _new(NetworkOpenInformation, (*filetimes, *sizes, shown_attributes(stat, stored, hidden_name)))


def hides(open_: "NtOpen") -> bool:
    """Whether the file of `open_` is shown as hidden for its name."""
    return open_.volume.settings.hides(open_.name)


def state_of(token: "ImpersonationToken", open_: "NtOpen") -> tuple[FileStat, DosAttributes]:
    """The stat and the NT attributes of an open file, as they are now."""
    chain = open_.volume.chain
    stat = shown_stat(open_.volume, chain.fstat(token, open_.handle))
    dos = chain.get_dos_attributes(token, open_.handle, stat)
    return (stat_of_stream(token, open_, stat) if open_.stream else stat), dos


def stat_of_stream(token: "ImpersonationToken", open_: "NtOpen", stat: FileStat) -> FileStat:
    """The stat of the named stream that is open: the sizes are its own, everything else is its file's."""
    data = open_.chain.fstat(token, open_.data)
    return stat._replace(mode=stat.mode & ~_TYPE | _REGULAR, size=data.size, allocated=data.allocated)


def information_of(token: "ImpersonationToken", open_: "NtOpen") -> NetworkOpenInformation:
    """FileNetworkOpenInformation of an open file, as it is now."""
    volume, handle = open_.volume, open_.handle
    chain = volume.chain
    if open_.stream or volume.registry.read(open_.file_key).write_time is not None:
        stat, dos = state_of(token, open_)
    else:
        stat = chain.fstat(token, handle)
        dos = chain.get_dos_attributes(token, handle, stat)
    return network_open(stat, dos, volume.settings.hides(open_.name), open_.reserved)
