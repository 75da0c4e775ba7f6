"""One mount of a CephFS: one client of the cluster. Everything here blocks, and is called on threads that may.

A mount never comes back once the cluster has put it out; `connection` then makes another one.
"""

import ctypes
import threading
import zlib
from ctypes import byref, c_void_p
from typing import Any, Final, NamedTuple

from lamina_ceph.errors import checked, error_of
from lamina_ceph.library import RECLAIM_RESET, library
from lamina_ceph.permissions import SUPERUSER, UserPermissions

_LONGEST_SETTING: Final = 256
_NAME_LOCKS: Final = 64


class Settings(NamedTuple):
    """What makes one mount the same as another. `client`: what this client is called, to be known again, or nothing."""

    user: str
    configuration: str
    told: tuple[tuple[str, str], ...]
    file_system: str
    root: str
    client: str


class Mount:
    """A client of the cluster, and the root of what it has mounted.

    `server`: the permissions of the server itself; `device`: a number of that file system; `lost`: nothing goes through
    it any more; `running`: calls under way.
    """

    def __init__(self, settings: Settings) -> None:
        """Reach the cluster. Raises OSError, ETIMEDOUT after `client_mount_timeout` seconds."""
        self.library: Any = library()
        self.server = UserPermissions(self.library, SUPERUSER)
        self._names = [threading.Lock() for _ in range(_NAME_LOCKS)]
        self.lost = False
        self.running = 0
        self.pointer = c_void_p()
        self.root = c_void_p()
        checked(self.library.ceph_create(byref(self.pointer), settings.user.encode()))
        try:
            self._configure(settings)
            self._reach(settings)
        except BaseException:
            self.library.ceph_release(self.pointer)
            raise
        self.device = self._device()

    def _configure(self, settings: Settings) -> None:
        result = self.library.ceph_conf_read_file(self.pointer, settings.configuration.encode())
        if result < 0:
            raise error_of(result, f"Ceph's configuration {settings.configuration}")
        for name, value in settings.told:
            result = self.library.ceph_conf_set(self.pointer, name.encode(), value.encode())
            if result < 0:
                raise error_of(result, f"Ceph's option {name}")

    def _reach(self, settings: Settings) -> None:
        result = self.library.ceph_init(self.pointer)
        if result < 0:
            raise error_of(result, f"the cluster of {settings.configuration}, as client.{settings.user}")
        if settings.file_system:
            checked(self.library.ceph_select_filesystem(self.pointer, settings.file_system.encode()))
        if settings.client:
            self._take_over(settings.client.encode())
        result = self.library.ceph_mount(self.pointer, settings.root.encode() or b"/")
        if result < 0:
            raise error_of(result, f"{settings.root or '/'} of CephFS {settings.file_system}".rstrip())
        result = self.library.ceph_ll_lookup_root(self.pointer, byref(self.root))
        if result < 0:
            self.library.ceph_unmount(self.pointer)
            raise error_of(result, "the root")

    def _take_over(self, client: bytes) -> None:
        # Where nobody of this name is left, or the cluster is too old for it, there is nothing to be ended.
        self.library.ceph_start_reclaim(self.pointer, client, RECLAIM_RESET)
        self.library.ceph_finish_reclaim(self.pointer)
        self.library.ceph_set_uuid(self.pointer, client)

    def _device(self) -> int:
        number = self.library.ceph_get_fs_cid(self.pointer)
        cluster = self.setting("fsid") + self.setting("mon_host")
        return zlib.crc32(f"{cluster}/{number}".encode())

    def setting(self, name: str) -> str:
        """What an option of Ceph's client is; "" where it says nothing."""
        text = ctypes.create_string_buffer(_LONGEST_SETTING)
        result = self.library.ceph_conf_get(self.pointer, name.encode(), text, len(text))
        return "" if result < 0 else text.value.decode(errors="replace")

    def address(self) -> bytes:
        """By which address the cluster knows this client: another one after it was put out and let in again."""
        text = c_void_p()
        checked(self.library.ceph_getaddrs(self.pointer, byref(text)))
        try:
            return ctypes.string_at(text) if text.value else b""
        finally:
            self.library.ceph_buffer_free(text)

    def name_lock(self, parent: int, name: bytes) -> threading.Lock:
        """What is held while a name is made: a rename that is not to replace looks for the name first."""
        return self._names[hash((parent, name)) % _NAME_LOCKS]

    def sync(self) -> None:
        """Write back everything. Raises OSError."""
        checked(self.library.ceph_sync_fs(self.pointer))

    def unmount(self) -> None:
        """Leave the cluster, which takes a second."""
        self.library.ceph_ll_put(self.pointer, self.root)
        checked(self.library.ceph_unmount(self.pointer))
        self.library.ceph_release(self.pointer)

    def give_up(self) -> None:
        """End what still waits for the cluster, which gets an error; what was not written is lost.

        It stays in memory: there may be handles whose owners have not heard of it.
        """
        self.lost = True
        self.library.ceph_abort_conn(self.pointer)
