"""How a path leads to an inode, component by component as the user, and never out of what is mounted.

Everything blocks. Inodes that are returned are held, and are the caller's to put.
"""

import errno
import stat as st
from ctypes import byref, c_void_p, create_string_buffer
from typing import Final, NamedTuple

from lamina_ceph.errors import checked, fail
from lamina_ceph.files import Opened
from lamina_ceph.library import NOFOLLOW, WANT, Statx
from lamina_ceph.mount import Mount
from lamina_ceph.permissions import UserPermissions

_MOST_LINKS: Final = 40
_LONGEST_NAME: Final = 255
_LONGEST_LINK: Final = 4096


_DIRECTORY: Final = Statx(mode=st.S_IFDIR)
_FILE: Final = Statx(mode=st.S_IFREG)


class Found(NamedTuple):
    """What a path leads to: an inode that is held, and its attributes."""

    inode: int
    raw: Statx


class Walk:
    """One walk through a mount. `links`: whether symbolic links may be followed; `hidden`: names nobody enters."""

    def __init__(self, mount: Mount, permissions: UserPermissions, links: bool, hidden: bytes = b"") -> None:
        self.mount, self.permissions = mount, permissions
        self._library = mount.library
        self._links, self._hidden = links, hidden
        self._theirs: list[Found] = []

    def begin(self, opened: Opened) -> Found:
        """An open directory to begin with, which is held by whoever has it open: to put it does nothing."""
        found = Found(opened.inode, _DIRECTORY if opened.is_directory else _FILE)
        self._theirs.append(found)
        return found

    def put(self, found: Found) -> None:
        """Let an inode go."""
        if not any(found is one for one in self._theirs):
            self._library.ceph_ll_put(self.mount.pointer, found.inode)

    def check(self, name: bytes) -> None:
        """Refuse a name that no file can have here: ENAMETOOLONG; ENOENT where it is nobody's to enter."""
        if len(name) > _LONGEST_NAME:
            fail(errno.ENAMETOOLONG, name)
        if self._hidden and name == self._hidden:
            fail(errno.ENOENT, name)

    def lookup(self, parent: int, name: bytes, want: int = WANT) -> Found:
        """What a name in a directory stands for. Raises ENOENT, ENOTDIR, EACCES, ENAMETOOLONG."""
        self.check(name)
        return self._look(parent, name, want, self.permissions)

    def again(self, found: Found, want: int = 0) -> Found:
        """The same directory, held once more."""
        return self._look(found.inode, b".", want, self.mount.server)

    def _look(self, parent: int, name: bytes, want: int, permissions: UserPermissions) -> Found:
        inode, raw = c_void_p(), Statx()
        checked(
            self._library.ceph_ll_lookup(
                *(self.mount.pointer, parent, name, byref(inode), byref(raw), want, NOFOLLOW, permissions.pointer)
            )
        )
        assert inode.value is not None
        return Found(inode.value, raw)

    def link_target(self, inode: int) -> bytes:
        """What a symbolic link holds."""
        text = create_string_buffer(_LONGEST_LINK + 1)
        length = self._library.ceph_ll_readlink(
            self.mount.pointer, inode, text, _LONGEST_LINK, self.permissions.pointer
        )
        return text.raw[: checked(length)]

    def to(self, start: Found, path: bytes, follow: bool) -> Found:
        """Where a path leads from a directory, which is taken over: the caller has the answer instead of it.

        Raises ELOOP for links that are not to be followed, EXDEV where one leads out, and what `lookup` does.
        """
        here = self._go(start, path, follow)
        return self.again(here, WANT) if here is start else here

    def _go(self, start: Found, path: bytes, follow: bool) -> Found:
        todo = path.split(b"/")[::-1]
        here, links = start, 0
        try:
            while todo:
                name = todo.pop()
                if name in {b"", b"."}:
                    continue
                there = self.step(here, name, 0 if todo else WANT)
                if st.S_ISLNK(there.raw.mode) and (todo or follow):
                    links += 1
                    todo += self.through(there, links)[::-1]
                else:
                    self.put(here)
                    here = there
        except BaseException:
            self.put(here)
            raise
        return here

    def step(self, here: Found, name: bytes, want: int = 0) -> Found:
        """What one name stands for in a directory. Raises ENOTDIR, EXDEV, and what `lookup` does."""
        if not st.S_ISDIR(here.raw.mode):
            fail(errno.ENOTDIR, name)
        if name == b".." and here.inode == self.mount.root.value:
            fail(errno.EXDEV, name)
        return self.lookup(here.inode, name, want)

    def parent(self, start: Found, path: bytes) -> tuple[Found, bytes]:
        """The directory of a path's last component, which is held instead of `start`, and that component."""
        head, _, name = path.rpartition(b"/")
        parent = self._go(start, head, True)
        if not st.S_ISDIR(parent.raw.mode):
            self.put(parent)
            fail(errno.ENOTDIR, path)
        return parent, name

    def through(self, link: Found, links: int) -> list[bytes]:
        """Where a symbolic link leads, which is let go: `links` of them have been followed with it."""
        try:
            if not self._links or links > _MOST_LINKS:
                fail(errno.ELOOP)
            target = self.link_target(link.inode)
        finally:
            self.put(link)
        if target.startswith(b"/"):
            fail(errno.EXDEV, target)
        return target.split(b"/")
