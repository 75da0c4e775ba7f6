"""What `ceph` does with names in a directory."""

import errno
import stat as st
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_void_p

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import decode_name, encode_name
from lamina.vfs_modules.operations import FileStat
from lamina.vfs_modules.token import ImpersonationToken

from lamina_ceph.errors import checked, fail
from lamina_ceph.files import Opened, file_stat
from lamina_ceph.library import Statx
from lamina_ceph.share import CephShare
from lamina_ceph.walking import Walk

_LONGEST_LINK = 4095


class CephNames(CephShare):
    """The part of `ceph` that handles names."""

    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names."""
        return self._beneath(token, directory, _stat, encode_name(path), follow, again=True)

    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory."""
        self._beneath(token, directory, _mkdir, encode_name(path), mode)

    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name that is not a directory's."""
        self._beneath(token, directory, _remove, encode_name(path), False)

    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory."""
        self._beneath(token, directory, _remove, encode_name(path), True)

    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Rename. CephFS always replaces; without that, what another server does just then may be replaced."""
        self._beneath(
            *(token, source_directory, _rename, encode_name(source), target_directory.private, encode_name(target)),
            replace,
        )

    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give the file of `handle` a further name."""
        self._beneath(token, directory, _link, handle.private, encode_name(path))

    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link."""
        self._beneath(token, directory, _symlink, encode_name(target), encode_name(path))

    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """What a symbolic link holds."""
        return decode_name(self._beneath(token, directory, _readlink, encode_name(path), again=True))


def _stat(walk: Walk, start: Opened, path: bytes, follow: bool) -> FileStat:
    found = walk.to(walk.begin(start), path, follow)
    walk.put(found)
    return file_stat(found.raw, walk.mount.device)


@contextmanager
def _name_of(walk: Walk, start: Opened, path: bytes) -> Iterator[tuple[int, bytes]]:
    """The inode of the folder that `path` ends in and the name there, which has been checked."""
    parent, name = walk.parent(walk.begin(start), path)
    try:
        walk.check(name)
        yield parent.inode, name
    finally:
        walk.put(parent)


def _make(call: Callable[..., int], walk: Walk, start: Opened, path: bytes, what: bytes | int) -> None:
    """Make a name by one of the library's calls that answer with the inode of what is made."""
    mount, made, raw = walk.mount, c_void_p(), Statx()
    with _name_of(walk, start, path) as (parent, name), mount.name_lock(parent, name):
        checked(call(mount.pointer, parent, name, what, byref(made), byref(raw), 0, 0, walk.permissions.pointer))
    if made.value:
        mount.library.ceph_ll_put(mount.pointer, made)


def _mkdir(walk: Walk, start: Opened, path: bytes, mode: int) -> None:
    _make(walk.mount.library.ceph_ll_mkdir, walk, start, path, mode)


def _remove(walk: Walk, start: Opened, path: bytes, is_directory: bool) -> None:
    mount = walk.mount
    remove = mount.library.ceph_ll_rmdir if is_directory else mount.library.ceph_ll_unlink
    with _name_of(walk, start, path) as (parent, name):
        checked(remove(mount.pointer, parent, name, walk.permissions.pointer))


def _rename(walk: Walk, start: Opened, source: bytes, end: Opened, target: bytes, replace: bool) -> None:
    mount = walk.mount
    with end.used(mount):
        parent, name = walk.parent(walk.begin(start), source)
        try:
            new_parent, new_name = walk.parent(walk.begin(end), target)
            try:
                walk.check(name)
                walk.check(new_name)
                with mount.name_lock(new_parent.inode, new_name):
                    if not replace:
                        _must_be_free(walk, new_parent.inode, new_name)
                    checked(
                        mount.library.ceph_ll_rename(
                            *(mount.pointer, parent.inode, name, new_parent.inode, new_name, walk.permissions.pointer)
                        )
                    )
            finally:
                walk.put(new_parent)
        finally:
            walk.put(parent)


def _must_be_free(walk: Walk, parent: int, name: bytes) -> None:
    try:
        there = walk.lookup(parent, name, 0)
    except FileNotFoundError:
        return
    walk.put(there)
    fail(errno.EEXIST, name)


def _link(walk: Walk, start: Opened, file: Opened, path: bytes) -> None:
    mount = walk.mount
    if file.is_directory:
        fail(errno.EPERM, path)
    with file.used(mount), _name_of(walk, start, path) as (parent, name), mount.name_lock(parent, name):
        checked(mount.library.ceph_ll_link(mount.pointer, file.inode, parent, name, walk.permissions.pointer))


def _symlink(walk: Walk, start: Opened, target: bytes, path: bytes) -> None:
    if len(target) > _LONGEST_LINK:
        fail(errno.ENAMETOOLONG, path)
    _make(walk.mount.library.ceph_ll_symlink, walk, start, path, target)


def _readlink(walk: Walk, start: Opened, path: bytes) -> bytes:
    found = walk.to(walk.begin(start), path, False)
    try:
        if not st.S_ISLNK(found.raw.mode):
            fail(errno.EINVAL, path)
        return walk.link_target(found.inode)
    finally:
        walk.put(found)
