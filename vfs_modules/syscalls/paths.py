"""Calls that take a name: opening, making, removing, renaming and linking, all relative to a directory's descriptor.

A single component cannot lead anywhere when its link is not followed, so it goes straight to the kernel. A path of
several has its parent resolved beneath the directory first (`resolve`), and the last component is acted on there.
"""

import errno
import os
from collections.abc import Iterator

from lamina.vfs_modules.credentials import assume
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.syscalls import libc
from lamina.vfs_modules.syscalls.attributes import proc_path, statx
from lamina.vfs_modules.syscalls.resolve import at_parent, open_beneath
from lamina.vfs_modules.token import ImpersonationToken

_RENAME_NOREPLACE = 1


def open_directory(token: ImpersonationToken, path: str) -> int:
    """Open an absolute path as a directory, for a share's root; the administrator's links in it are followed."""
    assume(token)
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_component(token: ImpersonationToken, directory: int, name: bytes, flags: int, mode: int) -> int:
    """Open one component, never following a link (ELOOP; with O_PATH the link itself is opened)."""
    assume(token)
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=directory)


def openat(
    token: ImpersonationToken, directory: int, path: bytes, flags: int, mode: int = 0, links: bool = True
) -> int:
    """Open a path beneath `directory`, following links that stay beneath it; EXDEV where one leads out.

    Without `links` none is followed: ELOOP.
    """
    assume(token)
    return open_beneath(directory, path, flags, mode, links)


def reopen(token: ImpersonationToken, fd: int, flags: int) -> int:
    """Open the file of a descriptor once more, with the permission check of the token."""
    assume(token)
    return os.open(proc_path(fd), flags | os.O_CLOEXEC)


def path_of(fd: int) -> bytes:
    """Where a descriptor's file is now, as the kernel says it; good for a hint, never for a check."""
    return os.readlink(proc_path(fd))


def statat(token: ImpersonationToken, directory: int, path: str) -> FileStat:
    """Look at what a path names, not following a last component that is a link; "" is the directory itself."""
    raw = encode_name(path)
    if b"/" not in raw and raw != b"..":
        return statx(token, directory, raw)
    assume(token)
    return at_parent(directory, raw, lambda parent, name: statx(token, parent, name))


def mkdirat(token: ImpersonationToken, directory: int, path: str, mode: int) -> None:
    """Make a directory."""
    assume(token)
    at_parent(directory, encode_name(path), lambda parent, name: os.mkdir(name, mode, dir_fd=parent))


def _unlink(parent: int, name: bytes) -> None:
    os.unlink(name, dir_fd=parent)


def _rmdir(parent: int, name: bytes) -> None:
    os.rmdir(name, dir_fd=parent)


def unlinkat(token: ImpersonationToken, directory: int, path: str) -> None:
    """Remove a name that is not a directory's; EISDIR if it is."""
    assume(token)
    at_parent(directory, encode_name(path), _unlink)


def rmdirat(token: ImpersonationToken, directory: int, path: str) -> None:
    """Remove an empty directory."""
    assume(token)
    at_parent(directory, encode_name(path), _rmdir)


def renameat(
    token: ImpersonationToken, source_directory: int, source: str, target_directory: int, target: str, replace: bool
) -> None:
    """Rename; without `replace` an existing target is EEXIST."""
    assume(token)
    move = _rename if replace else _rename_noreplace
    raw_target = encode_name(target)

    def to_target(source_parent: int, source_name: bytes) -> None:
        at_parent(target_directory, raw_target, lambda parent, name: move(source_parent, source_name, parent, name))

    at_parent(source_directory, encode_name(source), to_target)


def _rename(source_directory: int, source: bytes, target_directory: int, target: bytes) -> None:
    os.rename(source, target, src_dir_fd=source_directory, dst_dir_fd=target_directory)


def _rename_noreplace(source_directory: int, source: bytes, target_directory: int, target: bytes) -> None:
    if libc.renameat2(source_directory, source, target_directory, target, _RENAME_NOREPLACE) == 0:
        return
    try:
        libc.fail(source)
    except OSError as error:
        # A file system without it says EINVAL (as for a directory moved into itself), an old kernel ENOSYS.
        if error.errno not in {errno.EINVAL, errno.ENOSYS}:
            raise
    rename_by_link(source_directory, source, target_directory, target)


def rename_by_link(source_directory: int, source: bytes, target_directory: int, target: bytes) -> None:
    """Rename without replacing, where the kernel cannot: a link is atomic; what cannot be linked is looked at first."""
    try:
        os.link(source, target, src_dir_fd=source_directory, dst_dir_fd=target_directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.EISDIR, errno.EMLINK}:
            raise
    else:
        os.unlink(source, dir_fd=source_directory)
        return
    try:
        os.stat(target, dir_fd=target_directory, follow_symlinks=False)
    except FileNotFoundError:
        _rename(source_directory, source, target_directory, target)
    else:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), target)


def linkat(token: ImpersonationToken, fd: int, directory: int, path: str) -> None:
    """Give the file of a descriptor a further name."""
    assume(token)
    origin = proc_path(fd)

    def link(parent: int, name: bytes) -> None:
        # AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH; the link of /proc/self/fd needs nothing.
        os.link(origin, name, dst_dir_fd=parent, follow_symlinks=True)

    at_parent(directory, encode_name(path), link)


def symlinkat(token: ImpersonationToken, target: str, directory: int, path: str) -> None:
    """Make a symbolic link."""
    assume(token)
    raw = encode_name(target)
    at_parent(directory, encode_name(path), lambda parent, name: os.symlink(raw, name, dir_fd=parent))


def readlinkat(token: ImpersonationToken, directory: int, path: str) -> str:
    """The target of a symbolic link; EINVAL for anything else. "" is the link that `directory` itself is open on."""
    assume(token)
    return decode_name(at_parent(directory, encode_name(path), lambda parent, name: os.readlink(name, dir_fd=parent)))


def list_names(token: ImpersonationToken, fd: int) -> Iterator[str]:
    """The names in a directory without "." and "..", read as they are asked for. `fd` must be open for reading."""
    assume(token)
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name
            yield name if name.isascii() else decode_name(os.fsencode(name))
