"""Keeps records of persistent opens, so that they outlive the server: after a crash their clients go on with them.

A share whose chain has this module is continuously available (MS-SMB2 2.2.10): clients ask for persistent handles
there. Each record is on stable storage before its client is told of what it says; many clients share a commit.
"""

import asyncio
import errno
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from pydantic import Field

from lamina.vfs_modules.engine import current_task, offload
from lamina.vfs_modules.module import ModuleOptions, VfsModule
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.processes import place
from lamina.vfs_modules.stock.persisting.group_commit import GroupCommit
from lamina.vfs_modules.stock.persisting.record_store import Change, RecordStore, StoreError
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken
from lamina.vfs_modules.turn import Turn

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


class _Place(NamedTuple):
    """Where a store is, and whose: another share, or another server of this process, is refused as strangers are."""

    server: asyncio.AbstractEventLoop | None
    share: str
    path: str


class _Shared:
    """A store, and how many modules use it: those of one share, before and after its configuration was read again.

    Clients keep a share as it was until they leave it; it may have lost its store, or have gone, and got it back since.
    """

    _all: ClassVar[dict[_Place, "_Shared"]] = {}

    def __init__(self, place: _Place) -> None:
        self.users = 0
        # What could not be forgotten, for a full disk say, goes with the next commit: it would come back otherwise.
        self.owed: dict[bytes, Change] = {}
        self._place = place
        self._turn = Turn()

    @classmethod
    def join(cls, place: _Place) -> "_Shared":
        """The store, which who comes first opens. Raises StoreError."""
        shared = cls._all.setdefault(place, cls(place))
        shared.users += 1
        try:
            with shared._turn:
                shared._open()
        except BaseException:
            shared.leave()
            raise
        return shared

    def _open(self) -> None:
        if not hasattr(self, "store"):
            where = place()
            # Their folder is no other server's.
            self.store = offload(SERVER_TOKEN, RecordStore, self._place.path, where.folder if where is not None else "")
            self.commits = GroupCommit(self.store.apply)

    def leave(self) -> None:
        self.users -= 1
        if not self.users:
            self._all.pop(self._place, None)
            if hasattr(self, "store"):
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

    def one_process(self) -> str:
        """The store is one for all of them."""
        return ""

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
        owed = list(shared.owed.values())
        try:
            shared.commits.commit([*owed, change])
        except OSError as error:
            if change.value is None:
                shared.owed[change.key] = change
            self.health.failed(str(error))
            raise
        for done in owed:
            shared.owed.pop(done.key, None)
        self.health.ok()

    def _opened(self) -> _Shared:
        """The store, opened when it is first needed: not for a chain that is only looked at, nor beside `reload`'s."""
        return self._shared or self._take(self._join())

    def _join(self) -> _Shared:
        server = asyncio.get_running_loop() if current_task() is not None else None
        path = self.options.path or f"{self.storage.folder()}/{_FILE}"
        try:
            return _Shared.join(_Place(server, self.where().share, path))
        except StoreError as error:
            raise OSError(errno.EBADMSG, str(error)) from error

    def _take(self, shared: _Shared) -> _Shared:
        if self._shared is None:
            self._shared = shared
        else:
            # Another request has been quicker.
            shared.leave()
        return self._shared


def _key(open_id: int) -> bytes:
    return open_id.to_bytes(_KEY_BYTES)
