"""From an NT path to the name that the chain has for it (MS-FSA 2.1.5.1, the walk of the path; names ignore case).

The name exactly as given is always tried first, in one call for the whole path. Only where that misses are the
components looked up one by one, in the folded-name indexes of their directories, from the longest prefix that exists.
"""

import errno
from typing import TYPE_CHECKING, NamedTuple

from lamina.ntfsa.file_state import is_directory
from lamina.ntfsa.naming.names import present, to_posix
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.operations import FileStat

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.token import ImpersonationToken


class Resolved(NamedTuple):
    """Where a path leads: the directory that exists, and the last name in it. "" and "" for the root.

    `found` says whether the name was seen there, perhaps in another case; `name` is as it is on disk, or will be.
    """

    parent: str
    parent_stat: FileStat
    name: str
    found: bool

    @property
    def vfs_path(self) -> str:
        """The whole path for the chain."""
        return join(self.parent, self.name)


def join(directory: str, name: str) -> str:
    """A chain path of a directory and a name in it; either may be ""."""
    return f"{directory}/{name}" if directory and name else directory or name


def exact_path(components: tuple[str, ...]) -> str:
    """The chain path of the components exactly as the client wrote them."""
    return "/".join(map(to_posix, components))


def nt_path(vfs_path: str) -> str:
    """The NT path under which clients see a chain path."""
    return "\\".join(map(present, vfs_path.split("/"))) if vfs_path else ""


def resolve(volume: "NtVolume", token: "ImpersonationToken", components: tuple[str, ...]) -> Resolved:
    """Find the directory that holds the last component, and that component's name on disk if it has one.

    Raises OBJECT_PATH_NOT_FOUND where a directory on the way is missing or is none; OSError as the chain does.
    """
    if not components:
        return Resolved("", volume.root_stat, "", True)
    parent, stat = _resolve_directory(volume, token, components[:-1])
    return _in_directory(volume, token, parent, stat, components[-1])


def _resolve_directory(
    volume: "NtVolume", token: "ImpersonationToken", components: tuple[str, ...]
) -> tuple[str, FileStat]:
    path = exact_path(components)
    stat = stat_or_none(volume, token, path)
    if stat is None and components:
        above = resolve(volume, token, components)
        path = above.vfs_path
        stat = stat_or_none(volume, token, path) if above.found else None
    if stat is None or not is_directory(stat):
        raise NtStatusError(NtStatus.OBJECT_PATH_NOT_FOUND)
    return path, stat


def _in_directory(
    volume: "NtVolume", token: "ImpersonationToken", parent: str, stat: FileStat, component: str
) -> Resolved:
    try:
        name = volume.indexes.find(parent, stat, component)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.ENOENT}:
            raise
        # A directory that cannot be listed: only the exact name can be found in it.
        exact = to_posix(component)
        found = stat_or_none(volume, token, join(parent, exact)) is not None
        return Resolved(parent, stat, exact, found)
    if name is None:
        return Resolved(parent, stat, volume.indexes.new_name(stat, component), False)
    return Resolved(parent, stat, name, True)


def stat_or_none(volume: "NtVolume", token: "ImpersonationToken", path: str, follow: bool = True) -> FileStat | None:
    """The stat of what a chain path leads to, or None where there is nothing. `follow` False: of a link itself."""
    if not path:
        return volume.chain.fstat(token, volume.root)
    try:
        return volume.chain.stat(token, volume.root, path, follow)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG}:
            return None
        raise


def split(vfs_path: str) -> tuple[str, str]:
    """Directory and last name of a chain path."""
    directory, _, name = vfs_path.rpartition("/")
    return directory, name
