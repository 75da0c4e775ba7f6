"""Breaking the caching rights of others: the rules of `breaking` given a clock, and whoever must wait parked.

These are what the operations on files call, before they change what somebody may have cached.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from lamina.ntfsa.grants.admission import Opening, admit
from lamina.ntfsa.grants.breaking import Break, break_and_wait, break_now, others_cache, stop_waiting
from lamina.ntfsa.grants.caching import CHANGE_DATA, CHANGE_NAME, CHANGE_SECURITY, CLOSE_DELETING, Operation
from lamina.ntfsa.record import FileKey, Message
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules import engine

if TYPE_CHECKING:
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.registry import Registry


def data_changes(open_: "NtOpen", operation: Operation = CHANGE_DATA) -> None:
    """The data of the file is about to change or be locked: end what others cache of it."""
    registry, key, owner = open_.volume.registry, open_.file_key, open_.owner
    lease = open_.lease.identity if open_.lease is not None else b""
    if others_cache(registry.read(key).grants, owner, lease):
        registry.update(key, break_now, operation, owner, lease, time.monotonic())


def closing_deletes_file(open_: "NtOpen") -> None:
    """The file is about to go with its name: nobody keeps a closed file open any more (MS-FSA 2.1.5.5)."""
    data_changes(open_, CLOSE_DELETING)


def name_changes(open_: "NtOpen", key: FileKey | None = None) -> None:
    """The name of the file (or of another, `key`) is about to change or to go: wait until nobody caches handles of it.

    MS-FSA 2.1.5.15.4 (deletion), 2.1.5.15.6 and 2.1.5.15.11 (links and renames). Raises RequestCancelled, the breaks
    going on. Clients of the POSIX extensions do not wait: an open file may be renamed and removed there, and Linux asks
    for both within compounds, where nobody may wait, also while it caches a handle of the file itself.
    """
    if open_.posix and key is None:
        data_changes(open_, CHANGE_NAME)
        return
    key = open_.file_key if key is None else key
    while wait_for_break(open_, key, CHANGE_NAME):
        pass


def security_changes(open_: "NtOpen") -> None:
    """Who may open the file is about to change: wait until nobody caches handles of it (MS-FSA 2.1.5.17).

    Raises RequestCancelled, the breaks going on.
    """
    while wait_for_break(open_, open_.file_key, CHANGE_SECURITY):
        pass


def wait_for_break(open_: "NtOpen", key: FileKey, operation: Operation) -> bool:
    """Break what `operation` on the file `key` breaks; whether there was something to wait for. Look again then.

    Raises RequestCancelled, the breaks going on.
    """
    registry = open_.volume.registry
    if not registry.read(key).grants:
        return False
    lease = open_.lease.identity if open_.lease is not None else b""
    waiting = _Waiting(registry, key)
    wanted = Break(operation, open_.owner, lease, waiting.address, time.monotonic())
    deadline = registry.update(key, break_and_wait, wanted).result
    if deadline is None:
        waiting.give_up()
        return False
    waiting.wait()
    return True


def open_beside_grants(registry: "Registry", key: FileKey, opening: Opening) -> NtStatus:
    """Let an open in beside the grants of others.

    SUCCESS, DELETE_PENDING, SHARING_VIOLATION; PENDING after it has waited for a break: then the file must be looked
    at anew. Raises RequestCancelled, the breaks going on.
    """
    waiting = _Waiting(registry, key, opening.owner)
    status = registry.update(key, admit, opening, time.monotonic()).result.status
    if status is NtStatus.PENDING:
        waiting.wait()
    else:
        waiting.give_up()
    return status


class _Waiting:
    """Waits for BREAK_ENDED, which may come before the wait begins. `address`: where it comes to."""

    __slots__ = ("_future", "_key", "_over", "_registry", "address")

    def __init__(self, registry: "Registry", key: FileKey, address: int | None = None) -> None:
        self._registry = registry
        self._key = key
        self._over = False
        self._future: asyncio.Future[None] | None = None
        self.address = registry.new_owner() if address is None else address
        registry.subscribe(self.address, self._wake)

    def _wake(self, message: Message) -> None:
        self._over = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def wait(self) -> None:
        """Park until the break has ended; in time it does, whatever its holder does (see `grant_holders`)."""
        try:
            if not self._over:
                self._future = asyncio.get_running_loop().create_future()
                engine.wait(self._future, indefinite=True)
        finally:
            self._registry.update(self._key, stop_waiting, self.address)
            self.give_up()

    def give_up(self) -> None:
        """Nothing is waited for."""
        self._registry.unsubscribe(self.address)
