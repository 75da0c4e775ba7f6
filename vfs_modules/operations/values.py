"""The values that operations take and return: plain, immutable, and the same for every module of a chain."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol


class Access(IntEnum):
    """What a handle is opened for. PATH reaches the file's attributes but not its data."""

    PATH = 0
    READ = 1
    WRITE = 2
    READ_WRITE = 3


class FileStat(NamedTuple):
    """What statx says of a file. `btime_ns` is None where the file system keeps no birth time.

    `dev` and `ino` tell it from all others; `size` and `allocated` are bytes, `nlink` how many names it has. Times are
    nanoseconds since 1970: of the last access, the last change of its data, the last change of anything, and of birth.

    `compressed`: the file system is to keep its data compressed, or that of new files in a directory.
    """

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    allocated: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int | None
    compressed: bool = False


class DosAttributes(NamedTuple):
    """What NT keeps beside POSIX: FILE_ATTRIBUTE_* bits (MS-FSCC 2.6), the creation time, and a change time.

    `attributes` holds only stored bits (READONLY, HIDDEN, SYSTEM, ARCHIVE, …), never DIRECTORY or NORMAL,
    which ntfsa derives from the type of the file. `creation_ns` is None where none is stored. `change_ns` is a change
    time that was set, as long as the file has not changed since, else None; only `set_times` sets it.
    """

    attributes: int
    creation_ns: int | None
    change_ns: int | None = None


class DirectoryEntry(NamedTuple):
    """One entry of a directory. `stat` and `dos` are filled where the reader asked and the backend can.

    `may_have_xattrs` is false where it is known that there are no extended attributes that clients are told of.
    """

    name: str
    stat: FileStat | None = None
    dos: DosAttributes | None = None
    may_have_xattrs: bool = True


class EntryXattrs(NamedTuple):
    """What one entry of a directory has of extended attributes.

    `names`: the full names of those that the token may see; none where it may see none. `values`: of each that was
    asked for, its value, or the errno that `getxattr` would say: ENODATA where there is none, ENOENT where there is no
    such entry.
    """

    names: tuple[str, ...] = ()
    values: tuple[bytes | int, ...] = ()


class VolumeStatistics(NamedTuple):
    """Sizes of the file system in bytes; `available` is what this token may still use.

    `files`, `free_files`: how many files it can hold, and how many more; None where nobody knows.
    """

    block_size: int
    total: int
    free: int
    available: int
    volume_id: int
    files: int | None = None
    free_files: int | None = None


class StreamEntry(NamedTuple):
    """A named stream of a file or directory: its name without ":" and type, and its sizes in bytes."""

    name: str
    size: int
    allocated: int


class Times(NamedTuple):
    """Times to set, in nanoseconds; None leaves a time alone."""

    access_ns: int | None = None
    write_ns: int | None = None
    change_ns: int | None = None
    creation_ns: int | None = None


@dataclass(frozen=True, slots=True)
class OpenHow:
    """How `open` opens. `create` makes a missing regular file; with `exclusive` an existing one is EEXIST.

    `directory` insists on a directory (else ENOTDIR). `follow` False opens a symbolic link itself (PATH only).
    `mode` are the permission bits of a new file.
    """

    access: Access = Access.PATH
    create: bool = False
    exclusive: bool = False
    directory: bool = False
    follow: bool = True
    mode: int = 0o644


class NameEvent(NamedTuple):
    """A change of a watched directory: `name` was added, removed, or changed inside ("modified").

    `name` None means that events were lost and everything known about the directory must be read again.
    """

    kind: str
    name: str | None


class Watch(Protocol):
    """A directory being watched. Events that happened before `poll` is called are in its answer."""

    def poll(self) -> list[NameEvent]:
        """Everything that happened since the last poll, in order; never waits."""
        ...

    def close(self) -> None:
        """Stop watching and give back what it cost."""
        ...
