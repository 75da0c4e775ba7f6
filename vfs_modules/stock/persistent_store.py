"""Keeps records of persistent opens, so that they outlive the server: after a crash their clients go on with them.

A share whose chain has this module is continuously available (MS-SMB2 2.2.10): clients ask for persistent handles
there. Each record is on stable storage before its client is told of what it says; many clients share a commit.
"""

import errno
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.stock.persisting.group_commit import GroupCommit
from lamina.vfs_modules.stock.persisting.record_store import Change, RecordStore, StoreError
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

_FILE = "opens.db"
_KEY_BYTES = 8


class PersistentStoreOptions(ModuleOptions):
    """Options of `persistent_store`."""

    path: str = Field(
        default="",
        description="the file of the store, of this share alone; in the server's state folder unless it is given",
    )
    continuous_availability: bool = Field(
        default=True, description="whether clients are told that the share is continuously available"
    )


class _Shared:
    """A store, and how many modules use it: while a configuration is read again those before and after it."""

    def __init__(self, path: str) -> None:
        self.store = RecordStore(path)
        self.commits = GroupCommit(self.store.apply)
        self.users = 1

    def leave(self) -> None:
        self.users -= 1
        if not self.users:
            self.store.close()


class PersistentStoreModule(VfsModule, public=("statistics",)):
    """Keeps the records in an SQLite database (`persisting.record_store`)."""

    name: ClassVar[str] = "persistent_store"
    requires: ClassVar[tuple[str, ...]] = ("cookies",)
    Options = PersistentStoreOptions
    options: PersistentStoreOptions

    def __init__(self, options: ModuleOptions | None = None) -> None:
        super().__init__(options)
        self._shared: _Shared | None = None

    def disconnect(self) -> None:
        """Let go of the store."""
        if self._shared is not None:
            self._shared.leave()
            self._shared = None

    def reload(self, previous: VfsModule) -> None:
        """Go on with the store of the module before, which still has it, where it is the same file."""
        assert isinstance(previous, PersistentStoreModule)
        if previous._shared is not None and previous.options.path == self.options.path:
            self._shared = previous._shared
            self._shared.users += 1

    def capabilities(self, below: Capability) -> Capability:
        """What the layers below can do, and persistent handles."""
        added = Capability.PERSISTENT_HANDLES
        if self.options.continuous_availability:
            added |= Capability.CONTINUOUS_AVAILABILITY
        return below | added

    def statistics(self) -> dict[str, int]:
        """How often the store was written to, as `commits`."""
        return {"commits": 0 if self._shared is None else self._shared.commits.commits}

    def save_open(self, token: ImpersonationToken, open_id: int, record: bytes) -> None:
        """Keep a record; it is on stable storage when this returns."""
        self._commit(Change(_key(open_id), record))

    def forget_open(self, token: ImpersonationToken, open_id: int) -> None:
        """Forget a record."""
        self._commit(Change(_key(open_id), None))

    def load_opens(self, token: ImpersonationToken) -> Iterator[tuple[int, bytes]]:
        """All records; EBADMSG where the store is torn or another program's."""
        shared = self._opened()
        try:
            records = offload(SERVER_TOKEN, shared.store.load)
        except StoreError as error:
            raise OSError(errno.EBADMSG, str(error)) from error
        return iter([(int.from_bytes(key), record) for key, record in records.items()])

    def _commit(self, change: Change) -> None:
        shared = self._opened()
        try:
            shared.commits.commit([change])
        except OSError as error:
            self.health.failed(str(error))
            raise
        self.health.ok()

    def _opened(self) -> _Shared:
        """The store, opened when it is first needed: not for a chain that is only looked at, nor beside `reload`'s."""
        if self._shared is None:
            try:
                self._shared = offload(SERVER_TOKEN, _Shared, self.options.path or f"{self.storage.folder()}/{_FILE}")
            except StoreError as error:
                raise OSError(errno.EBADMSG, str(error)) from error
        return self._shared


def _key(open_id: int) -> bytes:
    return open_id.to_bytes(_KEY_BYTES)
