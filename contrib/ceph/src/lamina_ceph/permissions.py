"""Who a call is made for: libcephfs takes an object with uid, gid and groups beside each call.

Nothing of it is of the process or of a thread. Those of tokens that were used of late are kept.
"""

import ctypes
from collections import OrderedDict
from typing import Any, Final

from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

MOST: Final = 1024

Identity = tuple[int, int, tuple[int, ...]]
SUPERUSER: Final[Identity] = (0, 0, ())
"""What the server itself is on its file system."""


class UserPermissions:
    """The library's object for one identity, which lives as long as somebody holds this.

    It refers to the list of groups rather than having one of its own; so that is kept here.
    """

    __slots__ = ("_groups", "_library", "pointer")

    def __init__(self, library: Any, identity: Identity) -> None:
        uid, gid, groups = identity
        self._library = library
        self.pointer: int | None = None
        self._groups = (ctypes.c_uint32 * len(groups))(*groups)
        self.pointer = library.ceph_userperm_new(uid, gid, len(groups), self._groups)
        if not self.pointer:
            raise MemoryError

    def __del__(self) -> None:
        if self.pointer:
            self._library.ceph_userperm_destroy(self.pointer)


class PermissionCache:
    """Those that were used last, by who they are for. Used on the event loop's thread."""

    def __init__(self, library: Any, most: int = MOST) -> None:
        self._library, self._most = library, most
        self._kept: OrderedDict[Identity, UserPermissions] = OrderedDict()
        self.server = UserPermissions(library, SUPERUSER)

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, token: ImpersonationToken) -> UserPermissions:
        """The object for a token."""
        if token is SERVER_TOKEN:
            return self.server
        identity = (token.uid, token.gid, token.groups)
        found = self._kept.get(identity)
        if found is not None:
            self._kept.move_to_end(identity)
            return found
        made = self._kept[identity] = UserPermissions(self._library, identity)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return made
