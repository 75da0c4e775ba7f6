"""The backend `ceph`: a directory of CephFS, over libcephfs's low-level calls, which know inodes and handles.

All of them run on threads of the connection, with a time limit, also those that are nearly always answered from the
library's cache: whether one is, nobody can tell beforehand, and a cluster that does not answer must hold up nobody
else.
"""

import asyncio
import uuid
from typing import ClassVar

from lamina.vfs_modules.engine import current_task, offload
from lamina.vfs_modules.module import ShareInfo
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.token import SERVER_TOKEN

from lamina_ceph.attributes import CephAttributes
from lamina_ceph.buffers import Buffers
from lamina_ceph.connection import Connection, Key
from lamina_ceph.data import CephData
from lamina_ceph.directories import CephDirectories
from lamina_ceph.identity import client_name, place_in
from lamina_ceph.mount import Settings
from lamina_ceph.naming import CephNames
from lamina_ceph.opening import CephOpening

_CLIENT = "client"


class CephBackend(CephOpening, CephNames, CephDirectories, CephData, CephAttributes):
    """A directory of CephFS, put together from the groups of the contract."""

    name: ClassVar[str] = "ceph"
    api_version: ClassVar[tuple[int, int]] = (1, 9)
    provides: ClassVar[tuple[str, ...]] = ("cookies",)

    def connect(self, share: ShareInfo) -> None:
        """Mount it."""
        options = self.options
        self._layout = options.layout.value()
        self._follows = share.follow_symlinks
        self._buffers = Buffers(options.threads)
        self._connection = Connection.join(self._key(share))
        hidden = "" if options.snapshot_folder else self._connection.mounted().setting("client_snapdir")
        self._hidden = hidden.encode()

    def _key(self, share: ShareInfo) -> Key:
        options = self.options
        settings = Settings(
            user=options.user,
            configuration=options.configuration(),
            told=tuple(options.client_settings().items()),
            file_system=options.file_system,
            root=options.root or share.path,
            client="",
        )
        loop = asyncio.get_running_loop() if current_task() is not None else None
        key = Key(settings, options.threads, options.seconds, loop)
        return key._replace(settings=settings._replace(client=self._client(key))) if options.take_over else key

    def _client(self, key: Key) -> str:
        """What this process calls itself to the cluster for this share; with other options it is another client."""
        kept = self.storage.get(_CLIENT)
        if kept is None:
            kept = uuid.uuid4().bytes
            self.storage.set(_CLIENT, kept)
        place = offload(SERVER_TOKEN, place_in, self.storage.folder())
        return client_name(kept, place, repr(key[:3]))

    def disconnect(self) -> None:
        """Leave the cluster, unless another chain of the share is still there."""
        self._connection.leave()

    def capabilities(self, below: Capability) -> Capability:
        """What CephFS has. Holes can be punched but not found: no SPARSE; nor does it tell user space of changes."""
        found = (
            Capability.CASE_SENSITIVE
            | Capability.HARD_LINKS
            | Capability.SYMLINKS
            | Capability.XATTRS
            | Capability.CREATION_TIME
            | Capability.DURABLE_HANDLES
        )
        if self.options.posix_locking:
            found |= Capability.RANGE_LOCKS
        return found | Capability.POSIX_ACLS if self.options.posix_acls else found
