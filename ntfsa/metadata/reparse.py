"""Reparse points: what a file's is, and where the way through one ends (MS-FSA 2.1.5.1, MS-SMB2 2.2.2.2.1).

A symbolic link of the file system is a reparse point with the tag of symbolic links. Others are kept in an extended
attribute, in the form that Samba 4.21 has, and told by FILE_ATTRIBUTE_REPARSE_POINT among the NT attributes.
"""

import errno
import stat as st
from typing import TYPE_CHECKING, Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.posix_information import IO_REPARSE_TAG_NFS, special_file_data
from lamina.ntfsa.fscc.reparse import (
    IO_REPARSE_TAG_SYMLINK,
    ReparseData,
    SymbolicLink,
    pack_symbolic_link,
    parse_reparse_data,
    parse_symbolic_link,
)
from lamina.ntfsa.naming.names import present, to_posix, utf16_length
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import Access, FileStat, OpenHow
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken

XATTR: Final = "user.SmbReparse"
"""The whole buffer, as FSCTL_SET_REPARSE_POINT brought it."""

_LINK_HOW: Final = OpenHow(Access.PATH, follow=False)
_PATH_HOW: Final = OpenHow(Access.PATH)


class StoppedOnLinkError(NtStatusError):
    """A path leads through a symbolic link that the client is to follow itself.

    `unparsed`: bytes of UTF-16 in the path behind the link, its separator among them.
    """

    __slots__ = ("link", "unparsed")

    def __init__(self, link: SymbolicLink, unparsed: int) -> None:
        super().__init__(NtStatus.STOPPED_ON_SYMLINK)
        self.link = link
        self.unparsed = unparsed


def is_link(stat: FileStat) -> bool:
    """Whether `stat` is a symbolic link's own."""
    return st.S_ISLNK(stat.mode)


def open_link(volume: "NtVolume", token: "ImpersonationToken", path: str) -> "VfsHandle | None":
    """A handle of the symbolic link that a chain path names, or None where it names something else."""
    try:
        if not path or not is_link(volume.chain.stat(token, volume.root, path, False)):
            return None
        return volume.chain.open(token, volume.root, path, _LINK_HOW)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG}:
            return None
        raise


def reparse_data(token: "ImpersonationToken", open_: "NtOpen") -> ReparseData:
    """The reparse data of an open file. Raises NOT_A_REPARSE_POINT."""
    volume = open_.volume
    stat = volume.chain.fstat(token, open_.handle)
    if open_.posix and is_link(stat):
        return pack_symbolic_link(posix_link(volume.chain.readlink(token, volume.root, open_.vfs_path)))
    found = data_of(volume, token, open_.handle, open_.vfs_path, stat)
    if found is None:
        raise NtStatusError(NtStatus.NOT_A_REPARSE_POINT)
    return found


def data_of(
    volume: "NtVolume", token: "ImpersonationToken", handle: "VfsHandle", vfs_path: str, stat: FileStat
) -> ReparseData | None:
    """The reparse data of a file, or None where it has none. `vfs_path` is its name, `stat` its own."""
    if is_link(stat):
        return pack_symbolic_link(shown_link(volume.chain.readlink(token, volume.root, vfs_path)))
    special = special_file_data(stat.mode)
    if special is not None:
        return ReparseData(IO_REPARSE_TAG_NFS, special)
    try:
        # What a link is, is no matter of who may read the file's data.
        value = volume.chain.getxattr(SERVER_TOKEN, handle, XATTR)
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.ENOSYS}:
            return None
        raise
    try:
        return parse_reparse_data(value)
    except NtStatusError:
        return None


def shown_link(target: str) -> SymbolicLink:
    """What clients see of a symbolic link of the file system."""
    shown = "\\".join(present(part) for part in target.split("/"))
    return SymbolicLink(shown, shown, not target.startswith("/"))


def posix_link(target: str) -> SymbolicLink:
    """The same for clients of the POSIX extensions: as it is."""
    return SymbolicLink(target, target, not target.startswith("/"))


def require_no_posix_link(volume: "NtVolume", token: "ImpersonationToken", path: str) -> None:
    """STOPPED_ON_SYMLINK where a chain path names a symbolic link: clients of the POSIX extensions follow theirs."""
    link = open_link(volume, token, path)
    if link is not None:
        volume.chain.close(token, link)
        raise StoppedOnLinkError(posix_link(volume.chain.readlink(token, volume.root, path)), 0)


def posix_target(link: SymbolicLink) -> str | None:
    """What a symbolic link of the file system must hold to mean the same, or None where none can."""
    name = link.substitute_name
    if not link.relative or not name or name.startswith(("\\", "/")) or "\0" in name or ":" in name or "/" in name:
        return None
    return "/".join(part if part in {".", ".."} else to_posix(part) for part in name.split("\\"))


def tag_of(volume: "NtVolume", token: "ImpersonationToken", vfs_path: str, stat: FileStat) -> int:
    """The tag of what a chain path names and that is a reparse point; 0 where it is none any more."""
    if is_link(stat):
        return IO_REPARSE_TAG_SYMLINK
    found = reparse_at(volume, token, vfs_path, stat)
    return found.tag if found is not None else 0


def reparse_at(volume: "NtVolume", token: "ImpersonationToken", vfs_path: str, stat: FileStat) -> ReparseData | None:
    """The reparse data of what a chain path names and that is no symbolic link; None where it has none any more."""
    try:
        handle = volume.chain.open(token, volume.root, vfs_path, _PATH_HOW)
    except OSError:
        return None
    try:
        return data_of(volume, token, handle, vfs_path, stat)
    finally:
        volume.chain.close(token, handle)


def stop(reparse: ReparseData | None, behind: tuple[str, ...]) -> NtStatusError:
    """Why a path does not lead on through a reparse point; `behind` are the components that follow."""
    if reparse is None or reparse.tag != IO_REPARSE_TAG_SYMLINK:
        return NtStatusError(NtStatus.IO_REPARSE_TAG_NOT_HANDLED, "a reparse point that no client can follow here")
    unparsed = sum(2 * (1 + utf16_length(component)) for component in behind)
    return StoppedOnLinkError(parse_symbolic_link(reparse.data), unparsed)


def find_stop(volume: "NtVolume", token: "ImpersonationToken", components: tuple[str, ...]) -> NtStatusError | None:
    """Where a path that leads nowhere meets a reparse point, if it does: what to raise.

    For paths that could not be opened: each component is looked at.
    """
    path = ""
    for index, component in enumerate(components):
        name = _name_in(volume, token, path, component)
        path = f"{path}/{name}" if path else name
        try:
            stat = volume.chain.stat(token, volume.root, path, False)
        except OSError:
            return None
        last = index == len(components) - 1
        if is_link(stat):
            if volume.settings.follow_symlinks:
                continue
            return stop(_data_at(volume, token, path, stat), components[index + 1 :])
        if not last and is_reparse_directory(volume, token, path, stat):
            return stop(_data_at(volume, token, path, stat), components[index + 1 :])
    return None


def _name_in(volume: "NtVolume", token: "ImpersonationToken", directory: str, component: str) -> str:
    try:
        stat = volume.chain.stat(token, volume.root, directory, False) if directory else volume.root_stat
        found = volume.indexes.find(directory, stat, component)
    except OSError:
        found = None
    return to_posix(component) if found is None else found


def _data_at(volume: "NtVolume", token: "ImpersonationToken", path: str, stat: FileStat) -> ReparseData | None:
    handle = volume.chain.open(token, volume.root, path, _LINK_HOW)
    try:
        return data_of(volume, token, handle, path, stat)
    finally:
        volume.chain.close(token, handle)


def is_reparse_directory(volume: "NtVolume", token: "ImpersonationToken", path: str, stat: FileStat) -> bool:
    """Whether a directory is a reparse point: nothing may be made in one, nor is there anything in it."""
    if not path:
        return False
    dos = volume.indexes.attributes_of(token, stat)
    if dos is not None:
        return bool(dos.attributes & c.FILE_ATTRIBUTE_REPARSE_POINT)
    try:
        handle = volume.chain.open(token, volume.root, path, _PATH_HOW)
    except OSError:
        return False
    try:
        dos = volume.chain.get_dos_attributes(token, handle, stat)
    finally:
        volume.chain.close(token, handle)
    return bool(dos.attributes & c.FILE_ATTRIBUTE_REPARSE_POINT)
