"""How `ceph` opens and closes, and finds again what was open before a restart."""

import errno
import stat as st
import struct
from ctypes import byref, c_void_p
from os import O_CREAT, O_EXCL, O_RDWR
from typing import Final

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.names import encode_name
from lamina.vfs_modules.operations import Access, OpenHow
from lamina.vfs_modules.token import ImpersonationToken

from lamina_ceph.errors import checked, fail
from lamina_ceph.files import FLAGS, Opened, inode_of, open_inode
from lamina_ceph.library import WANT, Statx
from lamina_ceph.mount import Mount
from lamina_ceph.share import CephShare
from lamina_ceph.walking import Found, Walk

_COOKIE: Final = struct.Struct("<4sQQ")  # magic, inode, snapshot
_MAGIC: Final = b"LCF1"
_TRIES: Final = 8
_MOST_LINKS: Final = 40


class CephOpening(CephShare):
    """The part of `ceph` that opens and closes."""

    def open_root(self, token: ImpersonationToken) -> VfsHandle:
        """Open what is mounted."""
        opened = self._ask(_open_root, self._permissions(token), late=Opened.end, again=True)
        return VfsHandle(-1, True, opened)

    def open(self, token: ImpersonationToken, directory: VfsHandle, path: str, how: OpenHow) -> VfsHandle:
        """Open or create what `path` names beneath `directory`."""
        layout = self._layout if how.create else b""
        opened = self._beneath(
            token,
            directory,
            _open,
            encode_name(path),
            how,
            layout,
            late=Opened.end,
            again=not how.exclusive,
        )
        return VfsHandle(-1, opened.is_directory, opened)

    _layout: bytes

    def close(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Give a handle back; only one that was written through has something to say about it."""
        opened: Opened = handle.private
        if opened.access & Access.WRITE and not opened.is_directory:
            try:
                self._ask(_close, opened, again=True)
            finally:
                # Where the cluster has not answered, it is closed when it does.
                if not opened.closed:
                    self._connection.discard(opened.end)
        else:
            self._connection.discard(opened.end)

    # After a restart.

    def durable_cookie(self, token: ImpersonationToken, handle: VfsHandle) -> bytes:
        """The inode, which is never another file's, and the snapshot that it is in."""
        opened: Opened = handle.private
        return _COOKIE.pack(_MAGIC, *opened.vinode)

    def durable_upgrade(self, token: ImpersonationToken, handle: VfsHandle) -> None:
        """Write through from now on: what a client was told is written must outlive this process."""
        opened: Opened = handle.private
        opened.stable = True

    def durable_open(self, token: ImpersonationToken, directory: VfsHandle, cookie: bytes, how: OpenHow) -> VfsHandle:
        """Open the file of a cookie under whatever name it has now."""
        if len(cookie) != _COOKIE.size or not cookie.startswith(_MAGIC):
            fail(errno.EINVAL)
        _, *vinode = _COOKIE.unpack(cookie)
        opened = self._ask(_open_again, tuple(vinode), how.access, late=Opened.end, again=True)
        opened.stable = True
        return VfsHandle(-1, False, opened)


def _open_root(mount: Mount, permissions: object) -> Opened:
    walk = Walk(mount, permissions, False)  # type: ignore[arg-type]
    assert mount.root.value is not None
    found = walk.again(Found(mount.root.value, Statx()), WANT)
    return Opened(mount, found.inode, 0, found.raw, Access.PATH, walk.permissions)


def _open(walk: Walk, start: Opened, path: bytes, how: OpenHow, layout: bytes) -> Opened:
    here = walk.begin(start)
    if how.create and path:
        return _open_or_create(walk, here, path, how, layout, 0)
    return _opened(walk, walk.to(here, path, how.follow), how)


def _open_or_create(walk: Walk, start: Found, path: bytes, how: OpenHow, layout: bytes, links: int) -> Opened:
    parent, name = walk.parent(start, path)
    try:
        for _ in range(_TRIES):
            try:
                found = walk.lookup(parent.inode, name)
            except FileNotFoundError:
                try:
                    return _create(walk, parent.inode, name, how, layout)
                except FileExistsError:
                    if how.exclusive:
                        raise
                    continue
            if how.exclusive:
                walk.put(found)
                fail(errno.EEXIST, path)
            if not (how.follow and st.S_ISLNK(found.raw.mode)):
                return _opened(walk, found, how)
            target = b"/".join(walk.through(found, links + 1))
            return _open_or_create(walk, walk.again(parent), target, how, layout, links + 1)
    finally:
        walk.put(parent)
    fail(errno.EBUSY, path)


def _create(walk: Walk, parent: int, name: bytes, how: OpenHow, layout: bytes) -> Opened:
    if how.directory:
        fail(errno.ENOTDIR, name)
    mount, library = walk.mount, walk.mount.library
    inode, fh, raw = c_void_p(), c_void_p(), Statx()
    flags = (FLAGS[how.access] if how.access else O_RDWR) | O_CREAT | O_EXCL
    with mount.name_lock(parent, name):
        checked(
            library.ceph_ll_create(
                *(mount.pointer, parent, name, how.mode, flags, byref(inode), byref(fh), byref(raw), WANT, 0),
                walk.permissions.pointer,
            )
        )
    opened = Opened(mount, inode.value or 0, fh.value or 0, raw, how.access, walk.permissions)
    if layout:
        try:
            _lay_out(mount, opened.inode, layout)
        except OSError:
            opened.end()
            library.ceph_ll_unlink(mount.pointer, parent, name, walk.permissions.pointer)
            raise
    if not how.access:
        library.ceph_ll_close(mount.pointer, opened.fh)
        opened.fh = 0
    return opened


def _lay_out(mount: Mount, inode: int, layout: bytes) -> None:
    # It can be set as long as the file is empty.
    checked(
        mount.library.ceph_ll_setxattr(
            *(mount.pointer, inode, b"ceph.file.layout", layout, len(layout), 0, mount.server.pointer)
        )
    )


def _opened(walk: Walk, found: Found, how: OpenHow) -> Opened:
    mount, (inode, raw) = walk.mount, found
    fh, mode = 0, raw.mode
    try:
        if how.directory and not st.S_ISDIR(mode):
            fail(errno.ENOTDIR)
        if how.access and st.S_ISDIR(mode):
            _check_listing(walk, inode, how.access)
        elif how.access:
            _check_kind(mode)
            fh = open_inode(mount, inode, FLAGS[how.access], walk.permissions)
    except BaseException:
        walk.put(found)
        raise
    return Opened(mount, inode, fh, raw, how.access, walk.permissions)


def _check_kind(mode: int) -> None:
    if st.S_ISLNK(mode):
        fail(errno.ELOOP)
    if not st.S_ISREG(mode):
        raise OSError(errno.EACCES, "not a regular file or directory")


def _check_listing(walk: Walk, inode: int, access: Access) -> None:
    if access & Access.WRITE:
        fail(errno.EISDIR)
    listing, mount = c_void_p(), walk.mount
    checked(mount.library.ceph_ll_opendir(mount.pointer, inode, byref(listing), walk.permissions.pointer))
    mount.library.ceph_ll_releasedir(mount.pointer, listing)


def _open_again(mount: Mount, vinode: tuple[int, int], access: Access) -> Opened:
    inode, raw = inode_of(mount, vinode, mount.server)
    try:
        if not st.S_ISREG(raw.mode):
            fail(errno.ESTALE)
        fh = open_inode(mount, inode, FLAGS[access], mount.server) if access else 0
    except BaseException:
        mount.library.ceph_ll_put(mount.pointer, inode)
        raise
    return Opened(mount, inode, fh, raw, access, mount.server)


def _close(mount: Mount, opened: Opened) -> None:
    opened.end()
